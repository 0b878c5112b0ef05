// SPDX-License-Identifier: Apache-2.0
#include "core/weights/dtype.hpp"

#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <vector>

namespace dt2it {
namespace {

float widened(std::uint16_t bits, Dtype type) {
  float value = 0;
  convert(&bits, type, &value, Dtype::f32, 1);
  return value;
}

std::uint16_t narrowed(float value, Dtype type) {
  std::uint16_t bits = 0;
  convert(&value, Dtype::f32, &bits, type, 1);
  return bits;
}

// By arithmetic: sign, digits and exponent of a 16-bit number.
float slow_half(std::uint16_t bits) {
  const int exponent = bits >> 10 & 31, digits = bits & 1023;
  const float size = exponent == 31  ? (digits ? std::nanf("") : INFINITY)
                     : exponent == 0 ? std::ldexp(static_cast<float>(digits), -24)
                                     : std::ldexp(static_cast<float>(1024 + digits), exponent - 25);
  return bits & 0x8000 ? -size : size;
}

}  // namespace

TEST_CASE("Every 16-bit number becomes the right float and comes back") {
  for (std::uint32_t i = 0; i < 65536; ++i) {
    const auto bits = static_cast<std::uint16_t>(i);
    const float half = widened(bits, Dtype::f16), expected = slow_half(bits);
    const float brain = widened(bits, Dtype::bf16);
    if (std::isnan(expected)) {
      REQUIRE(std::isnan(half));
      REQUIRE(std::isnan(widened(narrowed(half, Dtype::f16), Dtype::f16)));
    } else {
      REQUIRE(std::bit_cast<std::uint32_t>(half) == std::bit_cast<std::uint32_t>(expected));
      REQUIRE(narrowed(half, Dtype::f16) == bits);
    }
    REQUIRE((std::isnan(brain) || narrowed(brain, Dtype::bf16) == bits));
  }
}

TEST_CASE("Between two 16-bit numbers the nearer one is taken, the even one of equally near ones") {
  for (const Dtype type : {Dtype::f16, Dtype::bf16})
    for (std::uint32_t i = 0; i < (type == Dtype::f16 ? 0x7bffu : 0x7f7fu); ++i) {
      const auto low = static_cast<std::uint16_t>(i), high = static_cast<std::uint16_t>(i + 1);
      const float a = widened(low, type), b = widened(high, type),
                  middle = static_cast<float>((double{a} + b) / 2);
      REQUIRE(narrowed(middle, type) == (i % 2 ? high : low));
      REQUIRE(narrowed(std::nextafter(middle, a), type) == low);
      REQUIRE(narrowed(std::nextafter(middle, b), type) == high);
    }
  CHECK(narrowed(65519.f, Dtype::f16) == 0x7bff);
  CHECK(narrowed(65520.f, Dtype::f16) == 0x7c00);
  CHECK(narrowed(-1e30f, Dtype::f16) == 0xfc00);
  CHECK(narrowed(std::numeric_limits<float>::max(), Dtype::bf16) == 0x7f80);
  CHECK(std::isnan(widened(narrowed(std::bit_cast<float>(0x7f800001u), Dtype::bf16), Dtype::bf16)));
}

TEST_CASE("Conversions of long, unaligned arrays, and what does not convert") {
  std::vector<double> numbers(5000);
  for (std::size_t i = 0; i < numbers.size(); ++i)
    numbers[i] = std::sin(static_cast<double>(i)) * 100;
  std::vector<char> memory(numbers.size() * 4 + 1);
  convert(numbers.data(), Dtype::f64, memory.data() + 1, Dtype::f32, numbers.size());
  std::vector<double> back(numbers.size());
  convert(memory.data() + 1, Dtype::f32, back.data(), Dtype::f64, numbers.size());
  for (std::size_t i = 0; i < numbers.size(); ++i)
    REQUIRE(back[i] == static_cast<double>(static_cast<float>(numbers[i])));
  CHECK(convertible(Dtype::bf16, Dtype::f64));
  CHECK(convertible(Dtype::i64, Dtype::i64));
  CHECK_FALSE(convertible(Dtype::i64, Dtype::f32));
  CHECK_FALSE(convertible(Dtype::f8_e4m3, Dtype::f8_e4m3));
  for (const char* name : {"F64", "F32", "F16", "BF16", "I64", "I8", "BOOL", "U8", "F8_E4M3", "F4"})
    CHECK(dtype_name(dtype_named(name)) == name);
  CHECK(dtype_named("F128") == Dtype::none);
}

}  // namespace dt2it
