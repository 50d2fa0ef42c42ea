// What the kernels need of AArch64's NEON. Included as simd_x86.hpp is, after <arm_neon.h>.

struct Neon {
  static constexpr int kLanes = 4;
  static constexpr int kVectors = 4;
  static constexpr int kColumns = 6;  // 24 of 32 registers hold sums
  static constexpr int kIntColumns = 4;
  static constexpr int kInPlaceColumns = 4;
  static constexpr int kPairedColumns = 0;
  static constexpr int kIntPairedColumns = 0;
  static constexpr int float_chains(int columns) { return columns <= 2 ? 2 : 1; }
  static constexpr int int_chains(int) { return 1; }

  using HalfSet = Neon;

  using Float = float32x4_t;
  using Int = int32x4_t;

  static VP3D_INLINE void prefetch(const char* at) { __builtin_prefetch(at); }
  static VP3D_INLINE void prefetch_l2(const char* at) { __builtin_prefetch(at, 0, 2); }

  static VP3D_INLINE Float zero() { return vdupq_n_f32(0.0F); }
  static VP3D_INLINE Float load(const float* from) { return vld1q_f32(from); }
  static VP3D_INLINE Float load(const Half* from) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(&from->bits)));
  }
  static VP3D_INLINE void store(float* to, Float x) { vst1q_f32(to, x); }
  static VP3D_INLINE Float broadcast(const float* from) { return vld1q_dup_f32(from); }
  static VP3D_INLINE Float multiply_add(Float a, Float b, Float c) { return vfmaq_f32(c, a, b); }
  static VP3D_INLINE Float add(Float a, Float b) { return vaddq_f32(a, b); }
  static VP3D_INLINE Float multiply(Float a, Float b) { return vmulq_f32(a, b); }
  static VP3D_INLINE Float divide(Float a, Float b) { return vdivq_f32(a, b); }
  // FMAX hands a NaN on.
  static VP3D_INLINE Float relu(Float x) { return vmaxq_f32(x, zero()); }

  template <class Vector>
  static VP3D_INLINE Vector kept(Vector x) {
    return x;
  }

  static VP3D_INLINE Int int_zero() { return vdupq_n_s32(0); }
  static VP3D_INLINE Int load_int32(const std::int32_t* from) { return vld1q_s32(from); }
  static VP3D_INLINE void store_int32(std::int32_t* to, Int x) { vst1q_s32(to, x); }
  static VP3D_INLINE Int load_int8(const std::int8_t* from) {
    return vreinterpretq_s32_s8(vld1q_s8(from));
  }
  static VP3D_INLINE Int broadcast_quad(const std::uint8_t* from) {
    std::int32_t quad;
    __builtin_memcpy(&quad, from, 4);
    return vdupq_n_s32(quad);
  }
  static VP3D_INLINE Int int_add(Int a, Int b) { return vaddq_s32(a, b); }
  static VP3D_INLINE Float to_float(Int x) { return vcvtq_f32_s32(x); }

  // Products in 16 bits, added in pairs: two of 7 by 8 bits fit.
  static VP3D_INLINE Int dot(Int sums, Int inputs, Int weights) {
    const int8x16_t x = vreinterpretq_s8_s32(inputs), w = vreinterpretq_s8_s32(weights);
    const int16x8_t low = vmull_s8(vget_low_s8(x), vget_low_s8(w));
    const int16x8_t high = vmull_high_s8(x, w);
    return vpadalq_s16(sums, vpaddq_s16(low, high));
  }

  static VP3D_INLINE void store_quantised(std::uint8_t* to, Float x) {
    // FMAXNM takes the number of a NaN and a number.
    const Float limited = vminnmq_f32(vmaxnmq_f32(x, zero()), vdupq_n_f32(127.0F));
    const uint16x4_t words = vqmovun_s32(vcvtnq_s32_f32(limited));
    const uint8x8_t bytes = vqmovn_u16(vcombine_u16(words, words));
    vst1_lane_u32(reinterpret_cast<std::uint32_t*>(to), vreinterpret_u32_u8(bytes), 0);
  }
};
