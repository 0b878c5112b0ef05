// SPDX-License-Identifier: Apache-2.0
// Our side of the benchmark `images`, see tests/bench/README.md. Each prints the seconds of its
// fastest round.
//   bench_images patches FILE MAX_PIXELS ROUNDS OUT           JPEG bytes to Qwen3-VL patches; OUT:
//   the patches, raw floats bench_images decode FILE ROUNDS                           JPEG bytes to
//   RGB: the ceiling bench_images pair FILE TOKENIZER PAIR LIMIT ROUNDS OUT    a pair to ids and a
//   prepared picture; PAIR: prompt, chosen,
//                                                             rejected, each ended by a zero byte;
//                                                             OUT: ids as text
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/nn/tree_encoder.hpp"
#include "dt2it/error.hpp"
#include "dt2it/testing/fake_context.hpp"
#include "tests/plugins/plugin_library.hpp"

namespace {

using namespace dt2it;
using namespace dt2it::nn;

std::string load(const char* file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) throw DataError(std::string("cannot read ") + file);
  return {std::istreambuf_iterator<char>(stream), {}};
}

template <typename Round>
void best_of(int rounds, Round round) {
  double best = 1e9;
  for (int i = 0; i < rounds; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    round();
    best = std::min(
        best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  std::printf("%.6f\n", best);
}

Image decoded(Codec& codec, const Bytes& bytes) {
  DecodedImage result = codec.decode(bytes);
  if (result.status != Status::ok) throw DataError(result.detail);
  return std::move(result.image);
}

void patches(Codec& codec, const Bytes& bytes, std::int64_t max_pixels, int rounds,
             const char* out) {
  ImageProcessorConfig config;
  config.max_pixels = max_pixels;
  std::size_t size = 0;
  const auto once = [&] {
    const PreparedVisual visual = prepare_image(decoded(codec, bytes), config, 0, 0);
    size = static_cast<std::size_t>(patch_count(visual, config) * config.patch_length()) *
           sizeof(float);
    // Aligned as tensors are.
    std::unique_ptr<float, void (*)(void*)> rows(
        static_cast<float*>(std::aligned_alloc(64, (size + 63) / 64 * 64)), std::free);
    write_patches(visual, config, rows.get());
    return rows;
  };
  best_of(rounds, once);
  const auto rows = once();
  std::ofstream(out, std::ios::binary)
      .write(reinterpret_cast<const char*>(rows.get()), static_cast<std::streamsize>(size));
}

void pair(std::shared_ptr<Codec> codec, const Bytes& bytes, const char* tokenizer_json,
          const std::string& texts, std::int64_t limit, int rounds, const char* out) {
  const Tokenizer tokenizer(tokenizer_json);
  testing::FakeMediaStore store;
  store.use_codec(std::move(codec));
  Prompt prompt;
  prompt.messages.push_back(
      {Message::Role::user,
       {Part::of_image(store.put(bytes, "picture")), Part::of_text(texts.c_str())}});
  const char* chosen = texts.c_str() + std::string_view(texts.c_str()).size() + 1;
  const std::string_view responses[] = {chosen, chosen + std::string_view(chosen).size() + 1};
  TreeEncoder::Options options;
  options.form = chat_template_named("qwen3_vl_nothink");
  options.image_token = tokenizer.id("<|image_pad|>").value();
  options.image_min_pixels = 32 * 32;
  options.image_max_pixels = limit;
  options.cutoff = 7168;
  EncodedTree encoded;
  best_of(rounds, [&] {
    TreeEncoder encoder(tokenizer, store, options);  // a new one: its cache is empty
    encoded = encoder.encode(prompt, responses);
  });
  if (encoded.status != Status::ok) throw DataError(encoded.detail);
  std::ofstream ids(out);
  const TokenTree& tree = encoded.tree;
  for (std::size_t branch = 0; branch < 2; ++branch) {
    for (std::size_t i = 0; i < tree.branch_ends[branch]; ++i)
      if (i < tree.prefix || i >= tree.branch_begin(branch)) ids << tree.tokens[i] << ' ';
    ids << '\n';
  }
}

}  // namespace

int main(int argc, char** argv) try {
  testing::FakeContext context;
  const testing::PluginLibrary library("codecs/opencv");
  const std::shared_ptr<Codec> codec = library.make<Codec>("opencv", {}, context);
  const std::string_view mode = argc > 1 ? argv[1] : "";
  const std::string file = argc > 2 ? load(argv[2]) : "";
  const Bytes bytes(file.begin(), file.end());
  if (mode == "patches" && argc == 6) {
    patches(*codec, bytes, std::atoll(argv[3]), std::atoi(argv[4]), argv[5]);
  } else if (mode == "decode" && argc == 4) {
    best_of(std::atoi(argv[3]), [&] { decoded(*codec, bytes); });
  } else if (mode == "pair" && argc == 8) {
    pair(codec, bytes, argv[3], load(argv[4]), std::atoll(argv[5]), std::atoi(argv[6]), argv[7]);
  } else {
    std::fprintf(stderr, "usage: see the top of images_bench.cpp\n");
    return 2;
  }
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "bench_images: %s\n", error.what());
  return 1;
}
