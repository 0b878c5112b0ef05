// SPDX-License-Identifier: Apache-2.0
// tokenizer.json: refused with a ModelError, or a tokenizer whose ids it knows and can decode.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "core/nn/tokenizer.hpp"
#include "dt2it/error.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dt2it;
  static const int file = ::memfd_create("tokenizer.json", MFD_CLOEXEC);
  static const std::string path = "/proc/self/fd/" + std::to_string(file);
  if (::ftruncate(file, 0) != 0 || ::pwrite(file, data, size, 0) != static_cast<ssize_t>(size))
    std::abort();
  try {
    const nn::Tokenizer tokenizer(path);
    for (const std::string_view text :
         {"the dog, and 12 rings <|im_end|>", "", " \xC3\xA9\xff\xE2\x82\xAC\n\n  x"}) {
      const auto ids = tokenizer.encode(text);
      for (const std::int64_t id : ids)
        if (id < 0 || id >= tokenizer.size()) std::abort();
      tokenizer.decode(ids);
    }
  } catch (const ModelError&) {
  }
  return 0;
}
