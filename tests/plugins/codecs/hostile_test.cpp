// SPDX-License-Identifier: Apache-2.0
// Pictures and films that somebody broke: a status with a reason each, no crash, no memory beyond
// what the limit on pixels allows. Seeds are fixed; the suite is meant for the `asan` preset, and
// runs in all.
#include <sys/resource.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <fstream>
#include <iostream>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <opencv2/videoio.hpp>

#include "core/util/files.hpp"
#include "dt2it/media.hpp"
#include "dt2it/rng.hpp"
#include "dt2it/testing/fake_context.hpp"
#include "tests/core/temporary_folder.hpp"
#include "tests/paths.hpp"
#include "tests/plugins/plugin_library.hpp"

using namespace dt2it;
using namespace dt2it::testing;
namespace fs = std::filesystem;

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

cv::Mat drawing(int seed) {
  cv::Mat mat(48, 64, CV_8UC3, cv::Scalar(20, 90, 160));
  cv::circle(mat, {20 + seed % 30, 24}, 15, {200, static_cast<double>(seed * 7 % 256), 30}, -1);
  cv::line(mat, {0, seed % 48}, {63, 40}, {255, 255, 255}, 2);
  return mat;
}

double peak_mib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

struct Sample {
  std::string name;
  Bytes bytes;
  std::vector<std::size_t> sizes;  // where the header has width and height
  bool big_endian = false;
  int width = 2;  // bytes of each
};

std::vector<Sample> samples() {
  std::vector<Sample> all = {
      {"rgb.png", load(kImages / "rgb.png"), {16, 20}, true, 4},
      {"palette.png", load(kImages / "palette_transparent.png"), {16, 20}, true, 4},
      {"rgba16.png", load(kImages / "rgba16.png"), {16, 20}, true, 4},
      {"animated.gif", load(kImages / "animated.gif"), {6, 8}, false, 2},
      {"interlaced.gif", load(kImages / "interlaced.gif"), {6, 8}, false, 2},
      {"bottom_up.bmp", load(kImages / "bottom_up.bmp"), {18, 22}, false, 4},
      {"big_endian.tif", load(kImages / "big_endian.tif"), {}, true, 4},
      {"grey16.tif", load(kImages / "grey16.tif"), {}, false, 4}};
  for (const char* type : {".jpg", ".webp", ".tiff"}) {
    Sample sample{type, {}, {}, true, 2};
    REQUIRE(cv::imencode(type, drawing(5), sample.bytes));
    if (sample.name == ".jpg")
      for (std::size_t i = 2; i + 9 < sample.bytes.size(); ++i)
        if (sample.bytes[i] == 0xFF && sample.bytes[i + 1] == 0xC0 && sample.sizes.empty())
          sample.sizes = {i + 5, i + 7};
    all.push_back(std::move(sample));
  }
  Sample progressive{"progressive.jpg", {}, {}, true, 2};
  REQUIRE(cv::imencode(".jpg", drawing(9), progressive.bytes, {cv::IMWRITE_JPEG_PROGRESSIVE, 1}));
  all.push_back(std::move(progressive));
  return all;
}

// One of: cut off, some bytes replaced, some bits turned, sizes made huge, a part repeated, a part
// zeroed.
Bytes damaged(const Sample& sample, Rng& rng) {
  Bytes bytes = sample.bytes;
  const auto at = [&] { return static_cast<std::size_t>(rng.below(bytes.size())); };
  switch (rng.below(sample.sizes.empty() ? 5 : 6)) {
    case 0: bytes.resize(at()); break;
    case 1:
      for (int i = rng.integer(1, 12); i > 0; --i)
        bytes[at()] = static_cast<std::uint8_t>(rng.below(256));
      break;
    case 2:
      for (int i = rng.integer(1, 12); i > 0; --i)
        bytes[at()] ^= static_cast<std::uint8_t>(1 << rng.below(8));
      break;
    case 3: {
      const std::size_t from = at(),
                        count = std::min<std::size_t>(bytes.size() - from, 1 + rng.below(200));
      const Bytes part(bytes.begin() + static_cast<std::ptrdiff_t>(from),
                       bytes.begin() + static_cast<std::ptrdiff_t>(from + count));
      bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(at()), part.begin(), part.end());
      break;
    }
    case 4: {
      const std::size_t from = at(),
                        count = std::min<std::size_t>(bytes.size() - from, 1 + rng.below(60));
      std::memset(bytes.data() + from, rng.chance(0.5) ? 0 : 255, count);
      break;
    }
    default:
      for (const std::size_t place : sample.sizes) {
        constexpr std::uint64_t kSizes[] = {0,     6000,       8000,       60000,
                                            65535, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000};
        const std::uint64_t size = kSizes[rng.below(std::size(kSizes))];
        for (int i = 0; i < sample.width; ++i) {
          const int shift = 8 * (sample.big_endian ? sample.width - 1 - i : i);
          bytes[place + static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(size >> shift);
        }
      }
  }
  return bytes;
}

}  // namespace

TEST_CASE("400 broken pictures: a status each, memory within the limit on pixels") {
  const std::vector<Sample> all = samples();
  for (const Sample& sample : all) {  // they are good before
    CAPTURE(sample.name);
    REQUIRE(codec().decode(sample.bytes).status == Status::ok);
  }
  Rng rng(20);
  std::size_t ok = 0, refused = 0;
  double worst = 0;
  for (int i = 0; i < 400; ++i) {
    const Sample& sample = all[static_cast<std::size_t>(i) % all.size()];
    const Bytes bytes = damaged(sample, rng);
    CAPTURE(sample.name, i);
    const double before = peak_mib();
    DecodedImage decoded;
    REQUIRE_NOTHROW(decoded = codec().decode(bytes));
    worst = std::max(worst, peak_mib() - before);
    if (decoded.status == Status::ok) {
      ++ok;
      CHECK(decoded.image.width > 0);
      CHECK(decoded.image.rgb.size() == std::size_t{3} *
                                            static_cast<std::size_t>(decoded.image.width) *
                                            static_cast<std::size_t>(decoded.image.height));
      CHECK(std::int64_t{decoded.image.width} * decoded.image.height <= 49'000'000);
    } else {
      ++refused;
      CHECK(decoded.status == Status::missing_media);
      CHECK_FALSE(decoded.detail.empty());
      CHECK(decoded.image.rgb.empty());
    }
  }
  INFO("the largest growth was " << worst << " MiB");
  CHECK(worst < 500);
  CHECK(refused > 150);
  CHECK(ok > 20);  // a turned bit in the pixels is a picture still
}

TEST_CASE("Bombs of 50 megapixels and more are refused by their headers") {
  Bytes png = load(kImages / "rgb.png");
  const auto set = [&](std::size_t at, std::uint32_t value) {
    for (int i = 0; i < 4; ++i)
      png[at + static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(value >> (24 - 8 * i));
  };
  set(16, 10000);
  set(20, 5000);
  const double before = peak_mib();
  const DecodedImage bomb = codec().decode(png);
  CHECK(bomb.status == Status::missing_media);
  CHECK_THAT(bomb.detail, Catch::Contains("10000 x 5000 pixels are more than the 49000000"));
  CHECK(codec().decode(load(kImages / "huge.png")).status == Status::missing_media);
  CHECK(peak_mib() - before < 50);
}

TEST_CASE("Broken films: a status each") {
  const TemporaryFolder folder;
  std::vector<std::pair<std::string, Bytes>> films;
  for (const auto& [name, api, code] : {std::tuple{"film.avi", cv::CAP_OPENCV_MJPEG, "MJPG"},
                                        {"film.mp4", cv::CAP_FFMPEG, "mp4v"}}) {
    const fs::path file = folder.path() / name;
    cv::VideoWriter writer;
    if (!writer.open(file.string(), api,
                     cv::VideoWriter::fourcc(code[0], code[1], code[2], code[3]), 10, {64, 48})) {
      std::cout << "skipped: no writer for " << name << " here\n";
      continue;
    }
    for (int i = 0; i < 25; ++i) writer.write(drawing(i));
    writer.release();
    films.emplace_back(name, load(file));
  }
  REQUIRE_FALSE(films.empty());

  VideoInfo seen;
  std::vector<Image> frames;
  VideoReading reading;
  std::vector<std::int64_t> wanted = {0, 3, 3, 24};
  reading.choose = [&](const VideoInfo& info) {
    seen = info;
    frames.clear();
    return wanted;
  };
  reading.take = [&](Image frame) { frames.push_back(std::move(frame)); };
  const auto read = [&](const Bytes& bytes) {
    const fs::path file = folder.path() / "read";
    std::ofstream(file, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    return codec().decode_video(file, reading);
  };
  for (const auto& [name, bytes] : films) {
    CAPTURE(name);
    const DecodedVideo whole = read(bytes);
    INFO(whole.detail);
    REQUIRE(whole.status == Status::ok);
    CHECK(whole.info.frames == 25);
    CHECK(whole.info.fps == Approx(10));
    CHECK(whole.info.seconds == Approx(2.5));
    REQUIRE(frames.size() == 4);
    CHECK(frames[1].rgb == frames[2].rgb);
    CHECK(frames[0].rgb != frames[1].rgb);
    for (std::size_t k = 0; k < frames.size();
         ++k) {  // the pictures that were written, but for their compression
      cv::Mat drawn;
      cv::cvtColor(drawing(static_cast<int>(wanted[k])), drawn, cv::COLOR_BGR2RGB);
      double apart = 0;
      for (std::size_t i = 0; i < frames[k].rgb.size(); ++i)
        apart += std::abs(int(frames[k].rgb[i]) - int(drawn.data[i]));
      CHECK(apart / static_cast<double>(frames[k].rgb.size()) < 12);
    }
    // A frame number behind the end: the reader counts, and asks again.
    int asked = 0;
    VideoReading counting = reading;
    counting.choose = [&](const VideoInfo& info) {
      frames.clear();
      ++asked;
      return std::vector<std::int64_t>{0, asked == 1 ? 99 : info.frames - 1};
    };
    std::ofstream(folder.path() / "read", std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    const DecodedVideo counted = codec().decode_video(folder.path() / "read", counting);
    CHECK(counted.status == Status::ok);
    CHECK(asked == 2);
    CHECK(counted.info.frames == 25);
    CHECK(frames.size() == 2);
  }
  for (const char* name : {"film.avi", "film.mp4", "film.webm"}) {  // headers only
    const DecodedVideo empty = codec().decode_video(kImages / name, reading);
    CHECK(empty.status == Status::missing_media);
    CHECK_FALSE(empty.detail.empty());
  }
  CHECK(codec().decode_video(kImages / "rgb.png", reading).status == Status::missing_media);
  CHECK(codec().decode_video(folder.path() / "absent", reading).status == Status::missing_media);
  CHECK(read(Bytes{}).status == Status::missing_media);

  reading.choose = [&](const VideoInfo& info) {
    frames.clear();
    std::vector<std::int64_t> some = {0};
    for (std::int64_t i = 1; i < std::min<std::int64_t>(info.frames, 8); ++i) some.push_back(i);
    return some;
  };
  Rng rng(21);
  std::size_t refused = 0;
  const double before = peak_mib();
  for (int i = 0; i < 80; ++i) {
    const auto& [name, bytes] = films[static_cast<std::size_t>(i) % films.size()];
    CAPTURE(name, i);
    DecodedVideo decoded;
    REQUIRE_NOTHROW(decoded = read(damaged({name, bytes, {}, false, 2}, rng)));
    if (decoded.status == Status::ok) {
      CHECK(frames.size() == decoded.chosen.size());
    } else {
      ++refused;
      CHECK_FALSE(decoded.detail.empty());
    }
  }
  CHECK(refused > 5);
  CHECK(peak_mib() - before < 500);
}
