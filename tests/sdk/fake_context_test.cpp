// SPDX-License-Identifier: Apache-2.0
#include "dt2it/testing/fake_context.hpp"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "dt2it/testing/fakes.hpp"
#include "dt2it/testing/loaded_plugin.hpp"
#include "tests/paths.hpp"

namespace dt2it::testing {
namespace {

const std::string kPlugins = build_path() + "/tests/bad_plugins/";

}  // namespace

TEST_CASE("FakeContext offers what the host offers") {
  FakeContext context(3, "judges.teacher");
  const auto judge =
      std::make_shared<FakeJudge>([](const Prompt&, const Response&) { return ok_score(4); });
  context.add<Judge>("teacher", judge);
  CHECK(context.component<Judge>("teacher") == judge);
  CHECK_THROWS_AS(context.component<Judge>("nobody"), ConfigError);
  CHECK_THROWS_AS(context.component<Mllm>("teacher"), ConfigError);
  CHECK_THROWS_AS(context.make<Scorer>("pointwise", {}), ConfigError);

  CHECK(context.rng("a").next() == FakeContext(3, "judges.teacher").rng("a").next());
  CHECK(context.rng("a").next() != context.rng("b").next());
  CHECK(context.rng("a").next() != FakeContext(4, "judges.teacher").rng("a").next());
  CHECK(context.rng("a").next() != FakeContext(3, "judges.other").rng("a").next());

  context.log(LogLevel::warning, "two pictures are absent");
  REQUIRE(context.log_lines().size() == 1);
  CHECK(context.log_lines()[0].level == LogLevel::warning);
  CHECK(context.logged("absent"));
  CHECK_FALSE(context.logged("present"));
}

TEST_CASE("The scratch folder goes away with the context") {
  std::filesystem::path folder;
  {
    FakeContext context;
    folder = context.scratch();
    CHECK(folder == context.scratch());
    std::ofstream(folder / "file") << "x";
    CHECK(std::filesystem::exists(folder / "file"));
  }
  CHECK_FALSE(std::filesystem::exists(folder));
}

TEST_CASE("Media in memory") {
  FakeContext context;
  MediaStore& store = context.media();
  const Image image = sample_image(5, 4, 1);
  const Media media = store.put_image(image, "drawn");
  CHECK(media.id.size() == 64);
  CHECK(media.mime == "image/png");
  CHECK(media.width == 5);
  CHECK(media.height == 4);
  CHECK(media.source == "drawn");
  CHECK(store.put_image(image, "again").id == media.id);
  CHECK(store.put_image(sample_image(5, 4, 2), "").id != media.id);
  CHECK(store.decode(media).image.rgb == image.rgb);
  CHECK(context.media_store().size() == 2);

  const Bytes text = {'x', 'y'};
  const Media plain = store.put(text, "t");
  CHECK(plain.mime.empty());
  CHECK(store.bytes(plain) == text);
  CHECK(store.decode(plain).status == Status::missing_media);  // no codec
  CHECK_FALSE(store.put_file("/no/such/file", "f").present());
  CHECK_THROWS_AS(store.bytes(Media{}), DataError);

  const auto folder = context.scratch() / "frames";
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "2.bin") << "second";
  std::ofstream(folder / "1.bin") << "first";
  const Media video = store.put_file(folder, "v");
  CHECK(video.kind == Media::Kind::video);
  REQUIRE(video.frames.size() == 2);
  Media first;
  first.id = video.frames[0];
  CHECK(store.bytes(first) == Bytes{'f', 'i', 'r', 's', 't'});
}

TEST_CASE("LoadedPlugin goes through the handshake") {
  const LoadedPlugin plugin(kPlugins + "good/scorers/good.so");
  CHECK(plugin.name() == "scorers/good");
  CHECK(plugin.version() == "1.0.0");
  CHECK(plugin.components().contains({"scorers", "good"}));
  FakeContext context;
  plugin.add_types_to(context);
  const auto scorer = context.make<Scorer>("good", {{"value", {8.0}}});
  CHECK(scorer->score({}, std::vector<Response>(1))[0].overall == 8.0);
  CHECK_THROWS_AS(plugin.make<Scorer>("bad", {}, context), ConfigError);
  CHECK_THROWS_WITH(LoadedPlugin(kPlugins + "wrong_abi/scorers/wrong_abi.so"),
                    Catch::Contains("SDK ABI 4711"));
  CHECK_THROWS_WITH(LoadedPlugin(kPlugins + "no_manifest/scorers/no_manifest.so"),
                    Catch::Contains("is missing"));
  CHECK_THROWS_WITH(LoadedPlugin(kPlugins + "not_a_library/scorers/not_a_library.so"),
                    Catch::Contains("cannot be loaded"));
}

}  // namespace dt2it::testing
