// SPDX-License-Identifier: Apache-2.0
#pragma once

// Tensors and pictures of the reference data, for tests that need no tensor library.

#include <simdjson.h>

#include <catch2/catch.hpp>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "core/media/media_store.hpp"
#include "dt2it/testing/fake_context.hpp"
#include "tests/core/nn/golden.hpp"
#include "tests/core/temporary_folder.hpp"
#include "tests/plugins/plugin_library.hpp"

namespace dt2it::testing {

// One .safetensors file, read whole.
class GoldenTensors {
 public:
  explicit GoldenTensors(const std::filesystem::path& file) {
    std::ifstream stream(file, std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(stream), {});
    REQUIRE(bytes_.size() > 8);
    std::uint64_t length = 0;
    std::memcpy(&length, bytes_.data(), 8);
    begin_ = 8 + length;
    root_ = parser_.parse(bytes_.data() + 8, length);
  }
  bool has(const std::string& name) const { return root_[name].error() == simdjson::SUCCESS; }
  std::vector<std::int64_t> shape(const std::string& name) const {
    std::vector<std::int64_t> sizes;
    for (const auto size : simdjson::dom::array(root_[name]["shape"]))
      sizes.push_back(std::int64_t(size));
    return sizes;
  }
  template <typename T>
  std::vector<T> values(const std::string& name) const {
    const std::string_view type = root_[name]["dtype"];
    REQUIRE(type == (std::is_same_v<T, float>          ? "F32"
                     : std::is_same_v<T, std::int32_t> ? "I32"
                                                       : "I64"));
    const std::uint64_t from = root_[name]["data_offsets"].at(0),
                        to = root_[name]["data_offsets"].at(1);
    std::vector<T> all((to - from) / sizeof(T));
    std::memcpy(all.data(), bytes_.data() + begin_ + from, to - from);
    return all;
  }

 private:
  std::string bytes_;
  std::uint64_t begin_ = 0;
  simdjson::dom::parser parser_;
  simdjson::dom::element root_;
};

// A media store in a folder of its own, with the real codec.
struct GoldenMedia {
  TemporaryFolder folder;
  FakeContext context;
  PluginLibrary library{"codecs/opencv"};
  FileMediaStore store{folder.path(),
                       [this] { return library.make<Codec>("opencv", {}, context); }};

  // A file of the reference data or of shared/.
  Media put(const std::string& file) {
    std::filesystem::path path = golden_folder() / file;
    if (!std::filesystem::exists(path)) path = golden_folder() / ".." / file;
    const Media media = store.put_file(path, file);
    INFO(file);
    REQUIRE(media.present());
    return media;
  }
};

}  // namespace dt2it::testing
