// SPDX-License-Identifier: Apache-2.0
#include "core/nn/safetensors.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <catch2/catch.hpp>

#include "dt2it/error.hpp"

using namespace dt2it;
using namespace dt2it::nn;
namespace fs = std::filesystem;

namespace {

std::string packed(const std::string& header, const std::string& data) {
  std::string file(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) file[i] = static_cast<char>(header.size() >> (8 * i));
  return file + header + data;
}

std::string opened(const std::string& bytes) {
  const fs::path path = fs::temp_directory_path() / "dt2it_safetensors_test.safetensors";
  write_text_file(path, bytes);
  std::string result = "accepted";
  try {
    const SafetensorsFile file(path);
  } catch (const ModelError& error) {
    result = error.what();
  }
  fs::remove(path);
  return result;
}

}  // namespace

TEST_CASE("Tensors come back as they were written, in three types, and bytes are the same twice") {
  const fs::path path = fs::temp_directory_path() / "dt2it_round_trip.safetensors";
  const at::Tensor x = at::arange(6, at::kFloat).view({2, 3}) / 7;
  const std::vector<std::pair<std::string, at::Tensor>> tensors = {
      {"a", x}, {"b\"q", x.to(at::kBFloat16)}, {"c", x.t().to(at::kHalf)}, {"d", at::arange(3, at::kLong)}};
  write_safetensors(path, tensors);
  const std::string bytes = read_text_file(path);
  {
    const SafetensorsFile file(path);
    CHECK(file.metadata().at("format") == "pt");
    for (const auto& [name, tensor] : tensors) {
      CHECK(file.load(name).equal(tensor));
      CHECK(file.load(name).scalar_type() == tensor.scalar_type());
    }
    CHECK_THROWS_AS(file.load("e"), ModelError);
  }
  write_safetensors(path, tensors);
  CHECK(read_text_file(path) == bytes);
  fs::remove(path);
}

TEST_CASE("A broken file is told apart from a good one") {
  using Catch::Matchers::Contains;
  const std::string data(8, 'x');
  const auto entry = [](const char* type, const char* shape, const char* offsets) {
    return std::string("{\"t\":{\"dtype\":\"") + type + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}}";
  };
  CHECK(opened(packed(entry("F32", "[2]", "[0,8]"), data)) == "accepted");
  CHECK_THAT(opened("abc"), Contains("shorter"));
  CHECK_THAT(opened(packed(entry("F32", "[2]", "[0,8]"), "")), Contains("'t'") && Contains("outside"));
  CHECK_THAT(opened(packed(entry("F32", "[3]", "[0,8]"), data)), Contains("need 12"));
  CHECK_THAT(opened(packed(entry("F8", "[2]", "[0,8]"), data)), Contains("F8"));
  CHECK_THAT(opened(packed(entry("F32", "[-2]", "[0,8]"), data)), Contains("shape"));
  CHECK_THAT(opened(packed(entry("F32", "[281474976710656,281474976710656]", "[0,8]"), data)), Contains("shape"));
  CHECK_THAT(opened(packed("{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
                           "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[3,7]}}",
                           data)),
             Contains("overlap"));
  CHECK_THAT(opened(packed("[1]", data)), Contains("JSON object"));
  std::string huge = packed("{}", data);
  huge[6] = 1;
  CHECK_THAT(opened(huge), Contains("cut short"));
}
