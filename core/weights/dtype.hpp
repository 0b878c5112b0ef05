// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace dt2it {

// Types of stored numbers, as the safetensors format names them. Those after `u8` are known by size
// only.
enum class Dtype : std::uint8_t {
  f64,
  f32,
  f16,
  bf16,
  i64,
  i32,
  i16,
  i8,
  boolean,
  u64,
  u32,
  u16,
  u8,
  c64,
  f8_e5m2,
  f8_e4m3,
  f8_e8m0,
  f8_e5m2fnuz,
  f8_e4m3fnuz,
  f6_e2m3,
  f6_e3m2,
  f4,
  none
};

std::string_view dtype_name(Dtype type);   // "BF16"
Dtype dtype_named(std::string_view name);  // Dtype::none for an unknown name
std::size_t dtype_bits(Dtype type);
inline std::size_t dtype_size(Dtype type) { return dtype_bits(type) / 8; }
inline bool readable(Dtype type) { return type <= Dtype::u8; }
inline bool floating(Dtype type) { return type <= Dtype::bf16; }
inline bool convertible(Dtype from, Dtype to) {
  return readable(from) && (from == to || (floating(from) && floating(to)));
}

// Numbers from one type into another, rounded to nearest, ties to even (float64 to 16 bits through
// float32, as PyTorch does); what a type cannot hold becomes an infinity. The types must be
// convertible(); the memory must not overlap. Any alignment.
void convert(const void* from, Dtype from_type, void* to, Dtype to_type, std::size_t count);

}  // namespace dt2it
