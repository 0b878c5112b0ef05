// SPDX-License-Identifier: Apache-2.0
// A file that begins with its header: refused with a ModelError, or every tensor lies within the data.
#include <cstdlib>
#include <cstring>

#include "core/weights/safetensors_header.hpp"
#include "dt2it/error.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dt2it;
  std::uint64_t length = 0;
  if (size < 8) return 0;
  std::memcpy(&length, data, 8);
  const std::uint64_t rest = size - 8;
  const std::uint64_t taken =
      length <= rest ? length
                     : rest;  // damaged lengths are refused before; the text is still of use
  const std::string_view json(reinterpret_cast<const char*>(data) + 8, taken);
  try {
    const SafetensorsHeader header = parse_safetensors_header(json, rest - taken, "fuzz");
    std::uint64_t sum = 0;
    for (const auto& [name, tensor] : header.tensors) {
      if (tensor.begin > tensor.end || tensor.end > rest - taken) std::abort();
      sum += tensor.bytes();
    }
    if (sum != rest - taken) std::abort();
  } catch (const ModelError&) {
  }
  return 0;
}
