// What tiles multiply: an instruction set S with a type of weights, as one *product*.
//
// A product works on *elements*: one float32 input of a column, or four quantised ones, which the
// dot-product instructions take together.
#pragma once

#include <type_traits>

#include "epilogue.hpp"

namespace vp3d::cpu {

// float32 or float16 weights; arithmetic is float32.
template <class S, class W>
struct FloatProduct {
  using Set = S;
  using Weight = W;
  using Element = float;
  using Sum = typename S::Float;
  using Stored = float;  // of a sum
  using Wide = FloatProduct<S, float>;
  // For columns that are read where they lie.
  using InPlace =
      FloatProduct<std::conditional_t<sizeof(W) == 2, typename S::HalfSet, S>, W>;

  static constexpr int kInputs = 1;  // of an element
  static constexpr int kColumns = S::kColumns;
  static constexpr int kPairedColumns = S::kPairedColumns;
  static constexpr int chains(int columns) { return S::float_chains(columns); }

  static VP3D_INLINE Sum zero() { return S::zero(); }
  static VP3D_INLINE Sum load_weights(const W* from) { return S::load(from); }
  static VP3D_INLINE Sum broadcast(const Element* from) { return S::broadcast(from); }
  static VP3D_INLINE Sum multiply_add(Sum sum, Sum x, Sum w) { return S::multiply_add(w, x, sum); }
  static VP3D_INLINE Sum add(Sum a, Sum b) { return S::add(a, b); }
  static VP3D_INLINE Sum load_sum(const Stored* from) { return S::load(from); }
  static VP3D_INLINE void store_sum(Stored* to, Sum sum) { S::store(to, sum); }
  static VP3D_INLINE typename S::Float value(const PackedLayer&, std::int64_t, Sum sum) {
    return sum;
  }

  // Weights [0, count) as float32, written to `space`.
  static VP3D_INLINE const float* widen(const W* weights, std::int64_t count, float* space) {
    for (std::int64_t i = 0; i < count; i += S::kLanes) S::store(space + i, S::load(weights + i));
    return space;
  }
};

// 8-bit weights and 7-bit inputs; sums are exact, in 32 bits. Inputs lie between 0 and 127: that
// fits signed and unsigned bytes alike, and two products fit 16 bits, so every instruction set
// computes the same integers.
template <class S>
struct Int8Product {
  struct Quad {
    std::uint8_t bytes[4];
  };

  using Set = S;
  using Weight = std::int8_t;
  using Element = Quad;
  using Sum = typename S::Int;
  using Stored = std::int32_t;
  using Wide = Int8Product;
  using InPlace = Int8Product;

  static constexpr int kInputs = 4;
  static constexpr int kColumns = S::kIntColumns;
  static constexpr int kPairedColumns = S::kIntPairedColumns;
  static constexpr int chains(int columns) { return S::int_chains(columns); }

  static VP3D_INLINE Sum zero() { return S::int_zero(); }
  static VP3D_INLINE Sum load_weights(const Weight* from) { return S::load_int8(from); }
  static VP3D_INLINE Sum broadcast(const Quad* from) { return S::broadcast_quad(from->bytes); }
  static VP3D_INLINE Sum multiply_add(Sum sum, Sum x, Sum w) { return S::dot(sum, x, w); }
  static VP3D_INLINE Sum add(Sum a, Sum b) { return S::int_add(a, b); }
  static VP3D_INLINE Sum load_sum(const Stored* from) { return S::load_int32(from); }
  static VP3D_INLINE void store_sum(Stored* to, Sum sum) { S::store_int32(to, sum); }
  static VP3D_INLINE typename S::Float value(const PackedLayer& layer, std::int64_t row, Sum sum) {
    return S::multiply(S::to_float(sum), S::load(layer.scale + row));
  }
};

}  // namespace vp3d::cpu
