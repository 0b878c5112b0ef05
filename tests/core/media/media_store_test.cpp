// SPDX-License-Identifier: Apache-2.0
#include "core/media/media_store.hpp"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <thread>
#include <vector>

#include "core/media/media_type.hpp"
#include "core/util/files.hpp"
#include "core/util/sha256.hpp"
#include "dt2it/error.hpp"
#include "dt2it/rng.hpp"
#include "tests/core/temporary_folder.hpp"
#include "tests/paths.hpp"

using namespace dt2it;
using dt2it::testing::TemporaryFolder;
namespace fs = std::filesystem;

namespace {

const fs::path kImages = source_path("/tests/fixtures/images");

Bytes bytes_of(std::string_view text) { return Bytes(text.begin(), text.end()); }

// Gives an image whose pixels are the number of its calls, so that a cached one shows.
class CountingCodec final : public Codec {
 public:
  DecodedImage decode(std::span<const std::uint8_t> bytes) override {
    const MediaType type = sniff_media(bytes);
    DecodedImage decoded{Status::ok, {type.width, type.height, {}}, ""};
    decoded.image.rgb.assign(std::size_t(type.width) * type.height * 3,
                             static_cast<std::uint8_t>(++calls));
    return decoded;
  }
  DecodedVideo decode_video(const fs::path& file, const VideoReading&) override {
    return {fs::exists(file) ? Status::ok : Status::invalid, {}, {}, ""};
  }
  Bytes encode_png(const Image&) override { return bytes_of(read_file(kImages / "rgb.png")); }
  std::atomic<int> calls{0};
};

FileMediaStore plain_store(const fs::path& root) {
  return FileMediaStore(root,
                        []() -> std::shared_ptr<Codec> { throw Error("no codec was asked for"); });
}

}  // namespace

TEST_CASE("Bytes are kept as they came, under their content's name") {
  const TemporaryFolder folder;
  FileMediaStore store = plain_store(folder.path() / "media");
  const std::string text = read_file(kImages / "named_wrongly.jpg");
  const Media media = store.put(bytes_of(text), "somewhere/name.jpg");
  CHECK(media.id == sha256_hex(text));
  CHECK(media.mime == "image/png");
  CHECK(media.width == 11);
  CHECK(media.height == 7);
  CHECK(media.source == "somewhere/name.jpg");
  CHECK(store.bytes(media) == bytes_of(text));
  CHECK(read_file(folder.path() / "media" / media.id.substr(0, 2) / media.id) == text);
  CHECK(store.put(bytes_of(text), "else").id == media.id);

  const Media unknown = store.put(bytes_of("no picture"), "x");
  CHECK(unknown.mime.empty());
  CHECK(store.bytes(unknown) == bytes_of("no picture"));
  CHECK(store.decode(unknown).status == Status::missing_media);

  CHECK_THROWS_AS(store.bytes(Media{}), DataError);
  Media absent;
  absent.id = std::string(64, 'a');
  CHECK_THROWS_WITH(store.bytes(absent), Catch::Contains("is not in the store"));
  absent.id = "../../../../etc/passwd";
  CHECK_THROWS_AS(store.bytes(absent), DataError);
  CHECK(store.decode(absent).status == Status::missing_media);
}

TEST_CASE("A file cut short by a power cut is mended by the next put") {
  const TemporaryFolder folder;
  FileMediaStore store = plain_store(folder.path());
  const Media media = store.put(bytes_of("some bytes"), "");
  fs::resize_file(store.path_of(media.id), 3);
  store.put(bytes_of("some bytes"), "");
  CHECK(store.bytes(media) == bytes_of("some bytes"));
}

TEST_CASE("Files that are absent or no files give a media without id") {
  const TemporaryFolder folder;
  FileMediaStore store = plain_store(folder.path() / "media");
  const Media absent = store.put_file(folder.path() / "no.png", "no.png");
  CHECK_FALSE(absent.present());
  CHECK(absent.source == "no.png");
  CHECK_THAT(store.decode(absent).detail, Catch::Contains("no.png"));
  REQUIRE(::mkfifo((folder.path() / "pipe").c_str(), 0600) == 0);
  CHECK_FALSE(store.put_file(folder.path() / "pipe", "pipe").present());
  CHECK(store.put_file(kImages / "empty.png", "e").id == sha256_hex(""));
}

TEST_CASE("A folder is a video of its pictures in the order of their names") {
  const TemporaryFolder folder;
  FileMediaStore store = plain_store(folder.path() / "media");
  fs::create_directories(folder.path() / "clip" / "sub");
  fs::create_directory_symlink("..", folder.path() / "clip" / "loop");
  fs::copy_file(kImages / "rgb.png", folder.path() / "clip" / "frame010.png");
  fs::copy_file(kImages / "grey.png", folder.path() / "clip" / "frame002.png");
  folder.write("clip/notes.txt", "not a frame");
  const Media video = store.put_file(folder.path() / "clip", "clip");
  CHECK(video.kind == Media::Kind::video);
  CHECK(video.id.empty());
  CHECK(video.frames == std::vector<std::string>{sha256_hex(read_file(kImages / "grey.png")),
                                                 sha256_hex(read_file(kImages / "rgb.png"))});
  CHECK(video.width == 11);
  CHECK_FALSE(store.put_file(folder.path() / "clip" / "sub", "sub").present());
}

TEST_CASE("Several threads and processes put the same bytes at once") {
  const TemporaryFolder folder;
  const auto put_all = [&] {
    FileMediaStore store = plain_store(folder.path() / "media");
    for (int i = 0; i < 60; ++i) {
      const std::string text =
          std::string(20'000, static_cast<char>('a' + i % 20)) + std::to_string(i);
      const Media media = store.put(bytes_of(text), "");
      if (store.bytes(media) != bytes_of(text)) return false;
    }
    return true;
  };
  std::vector<pid_t> children;
  for (int c = 0; c < 2; ++c) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) ::_exit(put_all() ? 0 : 1);
    children.push_back(child);
  }
  std::atomic<int> good{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t) threads.emplace_back([&] { good += put_all(); });
  for (std::thread& thread : threads) thread.join();
  CHECK(good == 2);
  for (const pid_t child : children) {
    int status = -1;
    ::waitpid(child, &status, 0);
    CHECK(status == 0);
  }
  std::size_t files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder.path() / "media"))
    if (entry.is_regular_file()) {
      ++files;
      CHECK(sha256_hex(read_file(entry.path())) == entry.path().filename().string());
    }
  CHECK(files == 60);  // and no temporary file is left
}

TEST_CASE(
    "Decoding: once while it fits the cache, never above the limit, codec made on first use") {
  const TemporaryFolder folder;
  const auto codec = std::make_shared<CountingCodec>();
  int made = 0;
  // Room for two decoded pictures of 11 x 7.
  FileMediaStore store(folder.path(), [&] { return ++made, codec; },
                       {.max_pixels = 100, .cache_bytes = 500});
  const Media a = store.put_file(kImages / "rgb.png", "a"),
              b = store.put_file(kImages / "grey.png", "b"),
              c = store.put_file(kImages / "palette.png", "c");
  CHECK(made == 0);
  CHECK(store.decode(a).image.rgb.at(0) == 1);
  CHECK(store.decode(b).image.rgb.at(0) == 2);
  CHECK(store.decode(a).image.rgb.at(0) == 1);
  CHECK(store.decode(c).image.rgb.at(0) == 3);  // puts b out, used longest ago
  CHECK(store.decode(a).image.rgb.at(0) == 1);
  CHECK(store.decode(b).image.rgb.at(0) == 4);
  CHECK(made == 1);

  for (const auto& [name, detail] :
       {std::pair{"huge.png", "60000 x 60000 pixels are more than the 100"},
        {"film.mp4", "video/mp4 is no image"},
        {"still.avif", "image/avif"},
        {"only_a_start.jpg", "header is damaged"},
        {"no_size.png", "header is damaged"},
        {"text.png", "neither an image nor a video"}}) {
    const DecodedImage refused = store.decode(store.put_file(kImages / name, name));
    CHECK(refused.status == Status::missing_media);
    CHECK_THAT(refused.detail, Catch::Contains(detail));
  }
  CHECK(codec->calls == 4);
  CHECK(store.put_image({11, 7, Bytes(231)}, "drawn").id == a.id);
}

TEST_CASE("Videos: files go to the codec, folders of frames are read frame by frame") {
  const TemporaryFolder folder;
  FileMediaStore store(folder.path(), [] { return std::make_shared<CountingCodec>(); });
  Media video;
  video.kind = Media::Kind::video;
  for (const char* name : {"rgb.png", "grey.png", "palette.png"})
    video.frames.push_back(store.put_file(kImages / name, name).id);
  VideoInfo seen;
  std::vector<int> taken;
  std::vector<std::int64_t> wanted = {0, 2, 2};
  VideoReading reading;
  reading.choose = [&](const VideoInfo& info) {
    seen = info;
    return wanted;
  };
  reading.take = [&](Image frame) { taken.push_back(frame.rgb.at(0)); };
  const DecodedVideo read = store.decode_video(video, reading);
  CHECK(read.status == Status::ok);
  CHECK(read.chosen == wanted);
  CHECK(seen.frames == 3);
  CHECK(seen.fps == 0);
  CHECK(taken == std::vector<int>{1, 2, 2});

  video.frames[2] = std::string(64, 'a');
  const DecodedVideo broken = store.decode_video(video, reading);
  CHECK(broken.status == Status::missing_media);
  CHECK_THAT(broken.detail, Catch::Contains("frame 2"));
  reading.choose = [](const VideoInfo&) -> std::vector<std::int64_t> {
    throw DataError("too short");
  };
  CHECK(store.decode_video(video, reading).detail == "too short");
  video.frames.clear();
  video.source = "clip";
  CHECK(store.decode_video(video, reading).detail == "'clip' is absent");
  CHECK(store.decode_video(store.put_file(kImages / "film.mp4", "film"), reading).status ==
        Status::ok);
  video.id = std::string(64, 'b');
  CHECK(store.decode_video(video, reading).status == Status::missing_media);
}

TEST_CASE("Sizes of JPEG and WebP come from the right place of the header") {
  const auto put = [](Bytes& to, std::initializer_list<int> from) {
    for (const int byte : from) to.push_back(static_cast<std::uint8_t>(byte));
  };
  // A thumbnail's frame header within APP1, padding, a restart interval, a progressive frame of 300 x 200.
  Bytes jpeg;
  put(jpeg, {0xFF, 0xD8, 0xFF, 0xE1, 0, 13, 0xFF, 0xC0, 0, 11, 8, 0, 9, 0, 9, 3, 0});
  put(jpeg, {0xFF, 0xFF, 0xDD, 0, 4, 0, 0, 0xFF, 0xC4, 0, 3, 7});
  put(jpeg, {0xFF, 0xC2, 0, 17, 8, 0, 200, 1, 44, 3});
  CHECK(sniff_media(jpeg).width == 300);
  CHECK(sniff_media(jpeg).height == 200);
  jpeg.resize(jpeg.size() - 3);
  CHECK(sniff_media(jpeg).mime == "image/jpeg");
  CHECK(sniff_media(jpeg).width == 0);

  const auto webp = [&](std::string_view kind, std::initializer_list<int> body) {
    Bytes bytes = bytes_of("RIFF....WEBP");
    for (const char c : kind) bytes.push_back(static_cast<std::uint8_t>(c));
    put(bytes, {0, 0, 0, 0});
    put(bytes, body);
    return sniff_media(bytes);
  };
  const MediaType lossy = webp("VP8 ", {0, 0, 0, 0x9D, 1, 0x2A, 0x2C, 0x41, 0xC8, 0x00});
  CHECK(lossy.width == 300);  // the upper two bits are a scale
  CHECK(lossy.height == 200);
  const MediaType extended = webp("VP8X", {0x10, 0, 0, 0, 0x2B, 1, 0, 0xC7, 0, 0});
  CHECK(extended.width == 300);
  CHECK(extended.height == 200);
  const unsigned bits = 299u | 199u << 14;
  const MediaType lossless = webp("VP8L", {0x2F, int(bits & 255), int(bits >> 8 & 255),
                                           int(bits >> 16 & 255), int(bits >> 24)});
  CHECK(lossless.width == 300);
  CHECK(lossless.height == 200);
  CHECK(webp("VP8L", {0x2F}).mime == "image/webp");
}

TEST_CASE("Headers cut anywhere or damaged are looked at without harm") {
  Rng rng(5);
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(kImages)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  for (const fs::path& file : files) {
    const Bytes whole = bytes_of(read_file(file));
    // Heap copies of the exact size, so that a checker sees a read past the end.
    for (std::size_t size = 0; size <= std::min<std::size_t>(whole.size(), 400); ++size)
      sniff_media(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)));
    for (int i = 0; i < 200 && !whole.empty(); ++i) {
      Bytes damaged = whole;
      for (int k = rng.integer(1, 4); k > 0; --k)
        damaged[rng.below(std::min<std::size_t>(damaged.size(), 64))] =
            static_cast<std::uint8_t>(rng.below(256));
      const MediaType type = sniff_media(damaged);
      CHECK(type.width >= 0);
      CHECK(type.height >= 0);
    }
  }
}
