// SPDX-License-Identifier: Apache-2.0
#include <simdjson.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <opencv2/imgcodecs.hpp>

#include "core/media/media_type.hpp"
#include "core/util/files.hpp"
#include "core/util/sha256.hpp"
#include "dt2it/media.hpp"
#include "dt2it/rng.hpp"
#include "dt2it/testing/contracts.hpp"
#include "tests/paths.hpp"
#include "tests/plugins/plugin_library.hpp"

using namespace dt2it;
using namespace dt2it::testing;
namespace fs = std::filesystem;
namespace dom = simdjson::dom;

namespace {

Codec& codec() {
  static FakeContext context;
  static const auto made = PluginLibrary("codecs/opencv").make<Codec>("opencv", {}, context);
  return *made;
}

Bytes load(const fs::path& file) {
  const std::string text = read_file(file);
  return Bytes(text.begin(), text.end());
}

const fs::path kImages = source_path("/tests/fixtures/images");

cv::Mat drawing(int width, int height) {
  cv::Mat mat(height, width, CV_8UC3);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      mat.at<cv::Vec3b>(y, x) = {std::uint8_t(40 + x * 2), std::uint8_t(200 - y * 3),
                                 std::uint8_t(x + y)};
  return mat;
}

}  // namespace

TEST_CASE("codecs/opencv keeps the contract of codecs") { check_codec_contract(codec()); }

TEST_CASE("Each odd picture gives its pixels or a status with a reason") {
  dom::parser parser;
  const dom::object expected = parser.load((kImages / "expected.json").string());
  std::size_t decoded_files = 0;
  for (const auto& [name, want] : expected) {
    const std::string file(name);
    CAPTURE(file);
    const Bytes bytes = load(kImages / file);
    const MediaType type = sniff_media(bytes);
    CHECK(type.mime == std::string_view(want["mime"]));
    CHECK(type.width == std::int64_t(want["width"]));
    CHECK(type.height == std::int64_t(want["height"]));
    const DecodedImage decoded = codec().decode(bytes);
    std::string_view hash;
    if (want["rgb_sha256"].get(hash) == simdjson::SUCCESS) {
      CAPTURE(decoded.detail);
      REQUIRE(decoded.status == Status::ok);
      CHECK(decoded.image.width == type.width);
      CHECK(decoded.image.height == type.height);
      CHECK(sha256_hex(decoded.image.rgb) == hash);
      ++decoded_files;
    } else {
      CHECK(decoded.status == Status::missing_media);
      CHECK_FALSE(decoded.detail.empty());
    }
  }
  CHECK(decoded_files >= 18);
}

TEST_CASE("JPEG: orientation ignored, cut off files told") {
  Bytes plain;
  REQUIRE(cv::imencode(".jpg", drawing(48, 32), plain, {cv::IMWRITE_JPEG_QUALITY, 95}));
  const DecodedImage straight = codec().decode(plain);
  REQUIRE(straight.status == Status::ok);
  CHECK(straight.image.width == 48);
  CHECK(std::abs(straight.image.rgb[2] - 40) < 12);  // blue, third in RGB
  CHECK(std::abs(straight.image.rgb[1] - 200) < 12);

  // An EXIF block that asks for a quarter turn, put behind the start marker.
  const unsigned char exif[] = {0xFF, 0xE1, 0, 34, 'E', 'x', 'i', 'f', 0, 0,    'M', 'M',
                                0,    42,   0, 0,  0,   8,   0,   1,   1, 0x12, 0,   3,
                                0,    0,    0, 1,  0,   6,   0,   0,   0, 0,    0,   0};
  Bytes turned = plain;
  turned.insert(turned.begin() + 2, std::begin(exif), std::end(exif));
  const DecodedImage ignored = codec().decode(turned);
  REQUIRE(ignored.status == Status::ok);
  CHECK(ignored.image.width == 48);
  CHECK(ignored.image.rgb == straight.image.rgb);

  for (const std::size_t size : {plain.size() / 4, plain.size() / 2, plain.size() - 2}) {
    const DecodedImage cut = codec().decode(std::span(plain).first(size));
    CHECK(cut.status == Status::missing_media);
    CHECK_FALSE(cut.detail.empty());
  }
}

TEST_CASE("WebP with and without transparency") {
  Bytes bytes;
  const cv::Mat mat = drawing(20, 10);
  REQUIRE(
      cv::imencode(".webp", mat, bytes, {cv::IMWRITE_WEBP_QUALITY, 101}));  // over 100: lossless
  const DecodedImage decoded = codec().decode(bytes);
  REQUIRE(decoded.status == Status::ok);
  CHECK(sniff_media(bytes).width == 20);
  CHECK(sniff_media(bytes).height == 10);
  bool same = true;
  for (int y = 0; y < 10; ++y)
    for (int x = 0; x < 20; ++x)
      for (int c = 0; c < 3; ++c)
        same = same && decoded.image.rgb[(y * 20 + x) * 3 + c] == mat.at<cv::Vec3b>(y, x)[2 - c];
  CHECK(same);
  CHECK(codec().decode(std::span(bytes).first(bytes.size() / 2)).status == Status::missing_media);
}

TEST_CASE("The same pixels as Hugging Face processors") {
  const fs::path shared = source_path("/../shared");
  const fs::path listed = shared / "golden/preprocess/images.json";
  if (!fs::exists(listed)) {
    std::cout << "skipped: no reference images at " << listed.string() << "\n";
    return;
  }
  dom::parser parser;
  const dom::element root = parser.load(listed.string());
  for (const auto& [name, record] : dom::object(root["images"])) {
    const std::string_view listed_file = record["file"];
    const std::string file{listed_file};
    CAPTURE(file);
    const fs::path path = fs::exists(shared / file) ? shared / file : shared / "golden" / file;
    const DecodedImage decoded = codec().decode(load(path));
    const dom::element want = record["decoded"];
    REQUIRE(decoded.status == Status::ok);
    CHECK(decoded.image.width == std::int64_t(want["width"]));
    CHECK(decoded.image.height == std::int64_t(want["height"]));
    const std::string_view mode = want["mode"];
    if (mode != "CMYK") {
      CHECK(sha256_hex(decoded.image.rgb) == std::string_view(want["rgb_sha256"]));
      continue;
    }
    // OpenCV divides by 256 where Pillow divides by 255: one level at most.
    std::vector<std::uint64_t> indices;
    for (const dom::element index : dom::array(want["rgb_sample_index"]))
      indices.push_back(std::uint64_t(index));
    std::size_t i = 0;
    int largest = 0;
    for (const dom::element value : dom::array(want["rgb_sample"]))
      largest = std::max(
          largest, std::abs(int(decoded.image.rgb.at(indices.at(i++))) - int(std::int64_t(value))));
    CHECK(i == indices.size());
    CHECK(largest <= 1);
  }
}

TEST_CASE("Damaged pictures never throw") {
  Rng rng(9);
  std::vector<Bytes> files;
  for (const char* name :
       {"rgb.png", "palette_transparent.png", "animated.gif", "bottom_up.bmp", "big_endian.tif"})
    files.push_back(load(kImages / name));
  for (const char* type : {".jpg", ".webp"}) {
    files.emplace_back();
    REQUIRE(cv::imencode(type, drawing(20, 10), files.back()));
  }
  for (const Bytes& whole : files)
    for (int i = 0; i < 40; ++i) {
      Bytes damaged = whole;
      if (rng.chance(0.3)) damaged.resize(rng.below(damaged.size()));
      for (int k = rng.integer(1, 4); k > 0 && !damaged.empty(); --k)
        damaged[rng.below(damaged.size())] = static_cast<std::uint8_t>(rng.below(256));
      DecodedImage decoded;
      REQUIRE_NOTHROW(decoded = codec().decode(damaged));
      if (decoded.status != Status::ok) CHECK_FALSE(decoded.detail.empty());
    }
}
