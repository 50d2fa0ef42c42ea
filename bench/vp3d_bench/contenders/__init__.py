"""What takes part: our engines and what one would use instead, behind one small protocol."""
