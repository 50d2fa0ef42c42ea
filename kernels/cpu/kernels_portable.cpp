// Kernels for any processor, in the compiler's own vector types.
#include "half.hpp"
#include "isa.hpp"
#include "kernel_set.hpp"

namespace vp3d::cpu {
namespace {

struct Portable {
  static constexpr int kLanes = 4;
  static constexpr int kVectors = 4;
  static constexpr int kColumns = 2;
  static constexpr int kIntColumns = 2;
  static constexpr int kInPlaceColumns = 3;
  static constexpr int kPairedColumns = 0;
  static constexpr int kIntPairedColumns = 0;
  static constexpr int float_chains(int) { return 1; }
  static constexpr int int_chains(int) { return 1; }

  using HalfSet = Portable;

  typedef float Float __attribute__((vector_size(16)));
  typedef std::int32_t Int __attribute__((vector_size(16)));

  static VP3D_INLINE void prefetch(const char* at) { __builtin_prefetch(at); }
  static VP3D_INLINE void prefetch_l2(const char* at) { __builtin_prefetch(at, 0, 2); }

  static VP3D_INLINE Float zero() { return Float{}; }
  static VP3D_INLINE Float load(const float* from) {
    Float x;
    __builtin_memcpy(&x, from, sizeof x);
    return x;
  }
  static VP3D_INLINE Float load(const Half* from) {
    return Float{widen(from[0]), widen(from[1]), widen(from[2]), widen(from[3])};
  }
  static VP3D_INLINE void store(float* to, Float x) { __builtin_memcpy(to, &x, sizeof x); }
  static VP3D_INLINE Float broadcast(const float* from) {
    return Float{*from, *from, *from, *from};
  }
  static VP3D_INLINE Float multiply_add(Float a, Float b, Float c) { return a * b + c; }
  static VP3D_INLINE Float add(Float a, Float b) { return a + b; }
  static VP3D_INLINE Float multiply(Float a, Float b) { return a * b; }
  static VP3D_INLINE Float divide(Float a, Float b) { return a / b; }
  // Written so that a NaN stays a NaN.
  static VP3D_INLINE Float relu(Float x) { return x < 0.0F ? zero() : x; }

  template <class Vector>
  static VP3D_INLINE Vector kept(Vector x) {
    return x;
  }

  static VP3D_INLINE Int int_zero() { return Int{}; }
  static VP3D_INLINE Int load_int32(const std::int32_t* from) {
    Int x;
    __builtin_memcpy(&x, from, sizeof x);
    return x;
  }
  static VP3D_INLINE void store_int32(std::int32_t* to, Int x) {
    __builtin_memcpy(to, &x, sizeof x);
  }
  static VP3D_INLINE Int load_int8(const std::int8_t* from) {
    Int x;
    __builtin_memcpy(&x, from, sizeof x);
    return x;
  }
  static VP3D_INLINE Int broadcast_quad(const std::uint8_t* from) {
    std::int32_t quad;
    __builtin_memcpy(&quad, from, 4);
    return Int{quad, quad, quad, quad};
  }
  static VP3D_INLINE Int int_add(Int a, Int b) { return a + b; }
  static VP3D_INLINE Float to_float(Int x) { return __builtin_convertvector(x, Float); }

  // Lanes of four bytes, taken apart by shifts in whichever order the processor stores them.
  static VP3D_INLINE Int dot(Int sums, Int inputs, Int weights) {
    for (int shift = 0; shift < 32; shift += 8)
      sums += ((inputs << (24 - shift)) >> 24) * ((weights << (24 - shift)) >> 24);
    return sums;
  }

  static VP3D_INLINE void store_quantised(std::uint8_t* to, Float x) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const float limited = x[lane] > 0.0F ? (x[lane] < 127.0F ? x[lane] : 127.0F) : 0.0F;
      to[lane] = static_cast<std::uint8_t>(__builtin_nearbyintf(limited));
    }
  }
};
}  // namespace

const KernelSet& portable_kernels() {
  static constexpr KernelSet kernels = kernel_set<Portable>("portable");
  return kernels;
}

}  // namespace vp3d::cpu
