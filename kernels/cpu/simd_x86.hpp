// What the kernels need of AVX2 and AVX-512. Included only by files compiled for them, inside an
// unnamed namespace and after <immintrin.h>: nothing built for one instruction set may serve another.

struct Avx2 {
  static constexpr int kLanes = 8;
  static constexpr int kVectors = 4;
  static constexpr int kColumns = 3;  // 12 of 16 registers hold sums
  static constexpr int kIntColumns = 2;      // products pass through registers of their own
  static constexpr int kInPlaceColumns = 3;  // that are read where they lie, at most
  static constexpr int kPairedColumns = 1;   // in place, two panels at once, at most
  static constexpr int kIntPairedColumns = 0;
  static constexpr int float_chains(int columns) { return columns == 1 ? 2 : 1; }
  static constexpr int int_chains(int) { return 1; }
  using HalfSet = Avx2;

  using Float = __m256;
  using Int = __m256i;

  static VP3D_INLINE void prefetch(const char* at) { _mm_prefetch(at, _MM_HINT_T0); }
  static VP3D_INLINE void prefetch_l2(const char* at) { _mm_prefetch(at, _MM_HINT_T1); }

  static VP3D_INLINE Float zero() { return _mm256_setzero_ps(); }
  static VP3D_INLINE Float load(const float* from) { return _mm256_loadu_ps(from); }
  static VP3D_INLINE Float load(const Half* from) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  }
  static VP3D_INLINE void store(float* to, Float x) { _mm256_storeu_ps(to, x); }
  static VP3D_INLINE Float broadcast(const float* from) { return _mm256_broadcast_ss(from); }
  static VP3D_INLINE Float multiply_add(Float a, Float b, Float c) {
    return _mm256_fmadd_ps(a, b, c);
  }
  static VP3D_INLINE Float add(Float a, Float b) { return _mm256_add_ps(a, b); }
  static VP3D_INLINE Float multiply(Float a, Float b) { return _mm256_mul_ps(a, b); }
  static VP3D_INLINE Float divide(Float a, Float b) { return _mm256_div_ps(a, b); }
  // In this order a NaN stays a NaN.
  static VP3D_INLINE Float relu(Float x) { return _mm256_max_ps(_mm256_setzero_ps(), x); }

  // Keeps the compiler from loading weights anew for every column.
  static VP3D_INLINE Float kept(Float x) {
    __asm__("" : "+x"(x));
    return x;
  }
  static VP3D_INLINE Int kept(Int x) {
    __asm__("" : "+x"(x));
    return x;
  }

  static VP3D_INLINE Int int_zero() { return _mm256_setzero_si256(); }
  static VP3D_INLINE Int load_int32(const std::int32_t* from) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  }
  static VP3D_INLINE void store_int32(std::int32_t* to, Int x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), x);
  }
  static VP3D_INLINE Int load_int8(const std::int8_t* from) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  }
  static VP3D_INLINE Int broadcast_quad(const std::uint8_t* from) {
    std::int32_t quad;
    __builtin_memcpy(&quad, from, 4);
    return _mm256_set1_epi32(quad);
  }
  static VP3D_INLINE Int int_add(Int a, Int b) { return _mm256_add_epi32(a, b); }
  static VP3D_INLINE Float to_float(Int x) { return _mm256_cvtepi32_ps(x); }

  // Two products of 7 by 8 bits fit 16, so nothing saturates.
  static VP3D_INLINE Int dot(Int sums, Int inputs, Int weights) {
    const Int pairs = _mm256_maddubs_epi16(inputs, weights);
    return _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }

  static VP3D_INLINE void store_quantised(std::uint8_t* to, Float x) {
    const Float limited = _mm256_min_ps(_mm256_max_ps(x, zero()), _mm256_set1_ps(127.0F));
    const Int whole = _mm256_cvtps_epi32(limited);
    const __m128i words =
        _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_packus_epi16(words, words));
  }
};

#ifdef __AVX512F__
struct Avx512 {
  static constexpr int kLanes = 16;
  static constexpr int kVectors = 2;
  static constexpr int kColumns = 12;  // 24 of 32 registers hold sums
  static constexpr int kIntColumns = 8;
  static constexpr int kInPlaceColumns = 4;
  static constexpr int kPairedColumns = 4;
  static constexpr int kIntPairedColumns = 1;
  static constexpr int float_chains(int columns) { return columns == 1 ? 4 : columns <= 3 ? 2 : 1; }
  static constexpr int int_chains(int columns) { return columns == 1 ? 2 : 1; }
  using HalfSet = Avx512;

  using Float = __m512;
  using Int = __m512i;

  static VP3D_INLINE void prefetch(const char* at) { _mm_prefetch(at, _MM_HINT_T0); }
  static VP3D_INLINE void prefetch_l2(const char* at) { _mm_prefetch(at, _MM_HINT_T1); }

  static VP3D_INLINE Float zero() { return _mm512_setzero_ps(); }
  static VP3D_INLINE Float load(const float* from) { return _mm512_loadu_ps(from); }
  static VP3D_INLINE Float load(const Half* from) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
  }
  static VP3D_INLINE void store(float* to, Float x) { _mm512_storeu_ps(to, x); }
  static VP3D_INLINE Float broadcast(const float* from) { return _mm512_set1_ps(*from); }
  static VP3D_INLINE Float multiply_add(Float a, Float b, Float c) {
    return _mm512_fmadd_ps(a, b, c);
  }
  static VP3D_INLINE Float add(Float a, Float b) { return _mm512_add_ps(a, b); }
  static VP3D_INLINE Float multiply(Float a, Float b) { return _mm512_mul_ps(a, b); }
  static VP3D_INLINE Float divide(Float a, Float b) { return _mm512_div_ps(a, b); }
  static VP3D_INLINE Float relu(Float x) { return _mm512_max_ps(_mm512_setzero_ps(), x); }

  // Keeps the compiler from loading weights anew for every column.
  static VP3D_INLINE Float kept(Float x) {
    __asm__("" : "+v"(x));
    return x;
  }
  static VP3D_INLINE Int kept(Int x) {
    __asm__("" : "+v"(x));
    return x;
  }

  static VP3D_INLINE Int int_zero() { return _mm512_setzero_si512(); }
  static VP3D_INLINE Int load_int32(const std::int32_t* from) { return _mm512_loadu_si512(from); }
  static VP3D_INLINE void store_int32(std::int32_t* to, Int x) { _mm512_storeu_si512(to, x); }
  static VP3D_INLINE Int load_int8(const std::int8_t* from) { return _mm512_loadu_si512(from); }
  static VP3D_INLINE Int broadcast_quad(const std::uint8_t* from) {
    std::int32_t quad;
    __builtin_memcpy(&quad, from, 4);
    return _mm512_set1_epi32(quad);
  }
  static VP3D_INLINE Int int_add(Int a, Int b) { return _mm512_add_epi32(a, b); }
  static VP3D_INLINE Float to_float(Int x) { return _mm512_cvtepi32_ps(x); }

  static VP3D_INLINE Int dot(Int sums, Int inputs, Int weights) {
    const Int pairs = _mm512_maddubs_epi16(inputs, weights);
    return _mm512_add_epi32(sums, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
  }

  static VP3D_INLINE void store_quantised(std::uint8_t* to, Float x) {
    const Float limited = _mm512_min_ps(_mm512_max_ps(x, zero()), _mm512_set1_ps(127.0F));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to),
                     _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(limited)));
  }
};
#endif
