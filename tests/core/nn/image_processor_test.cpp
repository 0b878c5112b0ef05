// SPDX-License-Identifier: Apache-2.0
#include "core/nn/image_processor.hpp"

#include <simdjson.h>

#include <array>
#include <catch2/catch.hpp>
#include <fstream>

#include "dt2it/error.hpp"
#include "dt2it/rng.hpp"
#include "tests/core/nn/golden_media.hpp"

using namespace dt2it;
using namespace dt2it::nn;
using namespace dt2it::testing;

namespace {

Image noise(Size size, std::uint64_t seed) {
  Rng rng(seed);
  Image image{size.width, size.height, {}};
  for (int i = size.width * size.height * 3; i > 0;
       --i)  // many extremes, where sums leave the range of a byte
    image.rgb.push_back(
        static_cast<std::uint8_t>(rng.chance(0.3) ? 255 * rng.below(2) : rng.below(256)));
  return image;
}

ImageProcessorConfig released(Family family) {
  ImageProcessorConfig config;
  if (family == Family::qwen3_vl) return config;
  config.patch = 14;
  config.min_pixels = 3136;
  config.max_pixels = 12845056;
  config.mean = {0.48145466f, 0.4578275f, 0.40821073f};
  config.deviation = {0.26862954f, 0.26130258f, 0.27577711f};
  return config;
}

constexpr std::pair<Family, const char*> kFamilies[] = {{Family::qwen2_5_vl, "qwen2_5_vl"},
                                                        {Family::qwen3_vl, "qwen3_vl"}};

std::vector<float> patches_of(const PreparedVisual& visual, const ImageProcessorConfig& config,
                              bool vector = true) {
  std::vector<float> rows(
      static_cast<std::size_t>(patch_count(visual, config) * config.patch_length()));
  write_patches(visual, config, rows.data(), vector);
  return rows;
}

Size last(const std::vector<Size>& steps, Size size) { return steps.empty() ? size : steps.back(); }

}  // namespace

TEST_CASE("smart_resize rounds half to even and keeps within the bounds") {
  CHECK(smart_resize({336, 240}, 32, 65536, 16777216) == Size{320, 256});
  CHECK(smart_resize({64, 64}, 16, 256, 65536) == Size{64, 64});
  CHECK(smart_resize({640, 480}, 32, 65536, 16777216) == Size{640, 480});
  CHECK(smart_resize({100, 100}, 32, 65536, 16777216) == Size{256, 256});
  CHECK_THROWS_AS(smart_resize({4000, 10}, 32, 1, 100000000), DataError);
}

TEST_CASE("limit_resize floors the sides, one resampling for each bound that is broken") {
  CHECK(limit_resize({640, 480}, 0, 268324) == std::vector<Size>{{598, 448}});
  CHECK(limit_resize({640, 480}, 0, 0).empty());
  CHECK(limit_resize({10, 20}, 0, 0) == std::vector<Size>{{28, 28}});
  CHECK(limit_resize({20000, 20}, 0, 268324) ==
        std::vector<Size>{{16380, 16}, {16380, 28}, {5040, 28}});
  CHECK_THROWS_AS(limit_resize({1000000, 1}, 0, 268324), DataError);
}

TEST_CASE("Resizing keeps a flat colour and the brightness of an edge") {
  const Image flat{9, 7, std::vector<std::uint8_t>(9 * 7 * 3, 131)};
  for (const Rounding rounding : {Rounding::pillow, Rounding::torch})
    for (const std::uint8_t value : resize_bicubic(flat, {20, 3}, rounding).rgb)
      REQUIRE(value == 131);
  Image edge{8, 1, {}};
  for (int x = 0; x < 8; ++x)
    for (int c = 0; c < 3; ++c) edge.rgb.push_back(x < 4 ? 0 : 200);
  const Image half = resize_bicubic(edge, {4, 1}, Rounding::torch);
  CHECK(half.rgb[0] < 5);
  CHECK(half.rgb[3 * 3] > 195);
  CHECK(half.rgb[3] + half.rgb[6] == Approx(200).margin(4));
}

TEST_CASE("Vector code gives the bytes of scalar code") {
  Rng rng(5);
  std::vector<std::pair<Size, Size>> sizes = {{{1, 1}, {5, 7}},     {{300, 1}, {7, 40}},
                                              {{2, 90}, {64, 3}},   {{640, 480}, {321, 480}},
                                              {{97, 64}, {97, 41}}, {{700, 30}, {31, 29}}};
  for (int i = 0; i < 40; ++i)
    sizes.push_back(
        {{rng.integer(1, 150), rng.integer(1, 90)}, {rng.integer(1, 150), rng.integer(1, 90)}});
  for (const auto& [from, to] : sizes)
    for (const Rounding rounding : {Rounding::pillow, Rounding::torch}) {
      CAPTURE(from.width, from.height, to.width, to.height, rounding);
      const Image image = noise(from, rng.next());
      REQUIRE(resize_bicubic(image, to, rounding, true).rgb ==
              resize_bicubic(image, to, rounding, false).rgb);
    }
  for (const auto& [family, name] : kFamilies) {
    const ImageProcessorConfig config = released(family);
    const int factor = config.patch * config.merge;
    for (const int frames : {1, 2, 3}) {
      PreparedVisual visual{3 * factor, 2 * factor, frames, 0, {}};
      for (int f = 0; f < frames; ++f) {
        const Image frame = noise({visual.width, visual.height}, rng.next());
        visual.rgb.insert(visual.rgb.end(), frame.rgb.begin(), frame.rgb.end());
      }
      CAPTURE(name, frames);
      CHECK(patch_count(visual, config) == 24 * ((frames + 1) / 2));
      CHECK(patches_of(visual, config, true) == patches_of(visual, config, false));
    }
  }
}

TEST_CASE("Patches come block by block, channel, frame, row, column") {
  ImageProcessorConfig config;
  config.patch = 2;
  config.mean = {0, 0, 0};
  config.deviation = {1.f / 255, 1.f / 255, 1.f / 255};
  PreparedVisual image{8, 4, 1, 2, {}};
  for (int y = 0; y < 4; ++y)
    for (int x = 0; x < 8; ++x)
      for (int c = 0; c < 3; ++c)
        image.rgb.push_back(static_cast<std::uint8_t>(y * 8 + x + 64 * c));
  std::vector<float> rows = patches_of(image, config);
  const auto at = [&](int row, int channel, int frame, int y, int x) {
    return static_cast<int>(
        rows[static_cast<std::size_t>(row * 24 + ((channel * 2 + frame) * 2 + y) * 2 + x)] + .5f);
  };
  CHECK(at(0, 0, 0, 0, 0) == 0);
  CHECK(at(0, 2, 1, 1, 1) == 9 + 128);
  CHECK(at(1, 0, 0, 0, 0) == 2);   // right neighbour in the block
  CHECK(at(2, 0, 1, 0, 0) == 16);  // below in the block
  CHECK(at(4, 0, 0, 0, 1) == 5);   // next block
  // A video: frames of a step side by side, the last one repeated.
  const std::vector<std::uint8_t> first = image.rgb;
  for (const int more : {50, 100})
    for (const std::uint8_t value : first)
      image.rgb.push_back(static_cast<std::uint8_t>(value + more));
  image.frames = 3;
  rows = patches_of(image, config);
  REQUIRE(rows.size() == 2 * 8 * 24);
  CHECK(at(0, 0, 0, 0, 0) == 0);
  CHECK(at(0, 0, 1, 0, 0) == 50);
  CHECK(at(8 + 1, 0, 0, 0, 0) == 102);
  CHECK(at(8 + 1, 0, 1, 0, 0) == 102);
}

TEST_CASE("Sizes of 77 pictures as both references have them, refusals included") {
  if (golden_absent()) return;
  simdjson::dom::parser parser;
  std::size_t compared = 0, refused = 0;
  for (const auto row : simdjson::dom::array(
           parser.load((golden_folder() / "preprocess/resize_table.json").string()))) {
    const Size size{static_cast<int>(std::int64_t(row["width"])),
                    static_cast<int>(std::int64_t(row["height"]))};
    for (const auto& [family, name] : kFamilies)
      for (const auto& [variant, want] : simdjson::dom::object(row[name])) {
        CAPTURE(size.width, size.height, name, variant);
        const ImageProcessorConfig config = released(family);
        const auto colon = variant.rfind('_');
        const std::int64_t pixels =
            variant == "hub" ? 0 : std::stoll(std::string(variant.substr(colon + 1)));
        const bool limited = variant.starts_with("lf_");
        const auto ours = [&] {
          const Size first = limited ? last(limit_resize(size, 32 * 32, pixels), size) : size;
          if (limited) {
            CHECK(first.width == std::int64_t(want["lf_size"].at(0)));
            CHECK(first.height == std::int64_t(want["lf_size"].at(1)));
          }
          return smart_resize(first, config.patch * config.merge, config.min_pixels,
                              pixels && !limited ? pixels : config.max_pixels);
        };
        if (want["error"].error() == simdjson::SUCCESS) {
          CHECK_THROWS_AS(ours(), DataError);
          ++refused;
          continue;
        }
        const Size got = ours();
        CHECK(got.width == std::int64_t(want["width"]));
        CHECK(got.height == std::int64_t(want["height"]));
        ++compared;
      }
  }
  CHECK(compared >= 700);
  CHECK(refused >= 1);
}

TEST_CASE("Pixels of every reference picture equal the fast processor's") {
  if (golden_absent()) return;
  GoldenMedia media;
  simdjson::dom::parser parser;
  const simdjson::dom::element root =
      parser.load((golden_folder() / "preprocess/images.json").string());
  std::size_t variants = 0, values = 0, unequal = 0, full = 0;
  for (const auto& [name_view, record] : simdjson::dom::object(root["images"])) {
    const std::string name(name_view);
    const bool cmyk =
        std::string_view(record["decoded"]["mode"]) == "CMYK";  // decoded up to one level apart
    const DecodedImage decoded =
        media.store.decode(media.put(std::string(std::string_view(record["file"]))));
    REQUIRE(decoded.status == Status::ok);
    for (const auto& [family, folder] : kFamilies) {
      const ImageProcessorConfig base = released(family);
      const GoldenTensors tensors(golden_folder() / "preprocess" / folder /
                                  (name + ".safetensors"));
      for (const auto& [variant_view, want] : simdjson::dom::object(record["processed"][folder])) {
        const std::string variant(variant_view);
        CAPTURE(name, folder, variant);
        ImageProcessorConfig config = base;
        const std::int64_t pixels =
            variant == "hub" ? 0 : std::stoll(variant.substr(variant.rfind('_') + 1));
        const bool limited = variant.starts_with("lf_");
        if (variant.starts_with("max_pixels_")) config.max_pixels = pixels;
        const PreparedVisual visual =
            prepare_image(decoded.image, config, limited ? 32 * 32 : 0, limited ? pixels : 0);
        CHECK(visual.width == std::int64_t(want["resized"].at(0)));
        CHECK(visual.height == std::int64_t(want["resized"].at(1)));
        CHECK(visual.tokens == std::int64_t(want["tokens"]));
        const std::vector<float> rows = patches_of(visual, config);
        double sum = 0, squares = 0;
        for (const float value : rows) sum += value, squares += double{value} * value;
        const auto count = static_cast<double>(rows.size());
        const double mean = sum / count,
                     deviation = std::sqrt((squares - count * mean * mean) / (count - 1));
        CHECK(mean == Approx(double(want["mean"])).margin(cmyk ? 0.02 : 1e-6));
        CHECK(deviation == Approx(double(want["std"])).epsilon(cmyk ? 0.02 : 1e-5));
        ++variants;
        const float level =
            1.f / 255 / *std::min_element(config.deviation.begin(), config.deviation.end());
        const auto compare = [&](float ours, float theirs) {
          ++values;
          const float difference = std::abs(ours - theirs);
          if (difference > 1e-6f) ++unequal;
          if (difference > (cmyk ? 2.1f * level : 1e-6f))
            FAIL_CHECK(ours << " instead of " << theirs);
        };
        if (tensors.has(variant + ".sample_index")) {
          const auto at = tensors.values<std::int32_t>(variant + ".sample_index");
          const auto theirs = tensors.values<float>(variant + ".sample_fast");
          for (std::size_t i = 0; i < at.size(); ++i)
            compare(rows.at(static_cast<std::size_t>(at[i])), theirs[i]);
        }
        if (tensors.has(variant + ".pixel_values_fast")) {
          const auto theirs = tensors.values<float>(variant + ".pixel_values_fast");
          REQUIRE(theirs.size() == rows.size());
          for (std::size_t i = 0; i < rows.size(); ++i) compare(rows[i], theirs[i]);
          ++full;
        }
      }
    }
  }
  CHECK(variants >= 160);
  CHECK(values >= 50000);
  CHECK(full >= 5);
  INFO(unequal << " of " << values << " values differ, all of the CMYK picture");
  CHECK(unequal * 10 < values);
}

TEST_CASE("Video limits come from the video's own file, else from the images' one") {
  const TemporaryFolder folder;
  const auto write = [&](const char* name, const char* text) {
    std::ofstream(folder.path() / name) << text;
  };
  write("preprocessor_config.json",
        R"({"patch_size": 14, "min_pixels": 3136, "max_pixels": 12845056})");
  const auto images = ImageProcessorConfig::read(folder.path() / "preprocessor_config.json");
  CHECK(VideoLimits::read(folder.path(), images).max_pixels == 12845056);
  write("video_preprocessor_config.json",
        R"({"patch_size": 14, "size": {"shortest_edge": 100, "longest_edge": 5000}})");
  CHECK(VideoLimits::read(folder.path(), images).min_pixels == 100);
  CHECK(VideoLimits::read(folder.path(), images).max_pixels == 5000);
  write("video_preprocessor_config.json", R"({"patch_size": 16})");
  CHECK_THROWS_AS(VideoLimits::read(folder.path(), images), ModelError);
}

// Layout: ProcessorMixin.save_pretrained of transformers 5.6.
TEST_CASE("Processors are read from processor_config.json where transformers 5 left only that") {
  const TemporaryFolder folder;
  const auto write = [&](const char* name, const char* text) {
    std::ofstream(folder.path() / name) << text;
  };
  CHECK_THROWS_WITH(
      ImageProcessorConfig::of(folder.path()),
      Catch::Contains("preprocessor_config.json") && Catch::Contains("processor_config.json"));
  write("processor_config.json", R"({"processor_class": "Qwen3VLProcessor"})");  // of 4.x
  CHECK_THROWS_AS(ImageProcessorConfig::of(folder.path()), ModelError);
  write("processor_config.json", R"({
    "image_processor": {"image_mean": [0.5, 0.5, 0.25], "image_std": [0.5, 0.5, 0.5], "merge_size": 2,
      "patch_size": 14, "size": {"longest_edge": 12845056, "shortest_edge": 3136}, "temporal_patch_size": 2},
    "processor_class": "Qwen2_5_VLProcessor",
    "video_processor": {"image_mean": [0.5, 0.5, 0.25], "image_std": [0.5, 0.5, 0.5], "merge_size": 2,
      "patch_size": 14, "size": {"longest_edge": 5000, "shortest_edge": 100}, "temporal_patch_size": 2}})");
  const auto images = ImageProcessorConfig::of(folder.path());
  CHECK(images.patch == 14);
  CHECK(images.min_pixels == 3136);
  CHECK(images.max_pixels == 12845056);
  CHECK(images.mean[2] == .25f);
  CHECK(VideoLimits::read(folder.path(), images).min_pixels == 100);
  CHECK(VideoLimits::read(folder.path(), images).max_pixels == 5000);
  // Files of their own count before.
  write(
      "preprocessor_config.json",
      R"({"patch_size": 14, "image_mean": [0.5, 0.5, 0.25], "min_pixels": 90, "max_pixels": 7000})");
  CHECK(ImageProcessorConfig::of(folder.path()).max_pixels == 7000);
  CHECK(VideoLimits::read(folder.path(), images).max_pixels == 5000);
  write(
      "video_preprocessor_config.json",
      R"({"patch_size": 14, "image_mean": [0.5, 0.5, 0.25], "min_pixels": 90, "max_pixels": 6000})");
  CHECK(VideoLimits::read(folder.path(), images).max_pixels == 6000);
}
