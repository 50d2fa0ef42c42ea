// Loops written out at compile time, so that what they index stays in registers: gcc keeps arrays
// that a loop indexes in memory, even where it unrolls the loop itself.
#pragma once

#include <utility>

#define VP3D_INLINE inline __attribute__((always_inline))
// Everything that the function calls becomes part of it: a loop's body that stayed a function would
// keep what it works on in memory.
#define VP3D_FLATTEN __attribute__((flatten))

namespace vp3d::cpu {

template <class F, int... I>
VP3D_INLINE void unroll_indices(F&& body, std::integer_sequence<int, I...>) {
  (body(std::integral_constant<int, I>{}), ...);
}

// body(0), body(1) .. body(N-1), each index a compile-time constant.
template <int N, class F>
VP3D_INLINE void unroll(F&& body) {
  unroll_indices(body, std::make_integer_sequence<int, N>{});
}

}  // namespace vp3d::cpu
