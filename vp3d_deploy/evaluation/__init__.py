"""How accurate a network is, in millimetres: from PyTorch, from every engine, and at every lag.

clips (what a network is shown) -> predict, pytorch, engines (what it answers) -> errors (how far
off that is) -> report, plots. `contenders` opens what is to be compared, `lags` measures what the
answers are worth when they must come sooner, and `cli` is the command vp3d-eval. Importing this
needs numpy alone; torch, rich and matplotlib are imported where they are used.
"""
