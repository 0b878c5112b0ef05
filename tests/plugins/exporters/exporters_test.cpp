// SPDX-License-Identifier: Apache-2.0
// Pairs out and back again: the same pairs, images byte for byte.
#include <simdjson.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <iterator>

#include "dt2it/dataset.hpp"
#include "dt2it/exporter.hpp"
#include "dt2it/testing/contracts.hpp"
#include "tests/paths.hpp"
#include "tests/plugins/plugin_library.hpp"

using namespace dt2it;
using namespace dt2it::testing;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

namespace {

struct Given final : Stream<PreferencePair> {
  explicit Given(const std::vector<PreferencePair>& all) : all(all) {}
  bool next(PreferencePair& pair) override {
    return at < all.size() ? (pair = all[at++], true) : false;
  }
  const std::vector<PreferencePair>& all;
  std::size_t at = 0;
};

Media picture(FakeContext& context, std::uint64_t seed) {
  return context.media().put_image(sample_image(12, 9, seed),
                                   "given/" + std::to_string(seed) + ".png");
}

PreferencePair pair_of(FakeContext& context, const std::string& id, const std::string& question,
                       int images) {
  PreferencePair pair;
  pair.id = id;
  pair.source = "set";
  pair.group = "reasoning";
  pair.prompt.id = "prompt/" + id;
  pair.prompt.source = "GQA";
  pair.prompt.domain = "visual_understanding";
  pair.prompt.reference = "the reference\nof two lines";
  pair.prompt.extra = R"({"record_id":7})";
  Message message;
  for (int i = 0; i < images; ++i)
    message.content.push_back(
        Part::of_image(picture(context, stable_hash(id) + static_cast<std::uint64_t>(i))));
  message.content.push_back(Part::of_text(question));
  pair.prompt.messages = {message};
  pair.chosen.id = "3";
  pair.chosen.text = "chosen \"of\"\t" + id + "\n\n  with \\ and \u2028 line and \U0001F642 ";
  pair.chosen.mllm = "model_a";
  pair.chosen.origin = "better";
  pair.rejected.id = "0";
  pair.rejected.text = "rejected";
  pair.rejected.mllm = "model_b";
  pair.rejected.origin = "sampled";
  pair.rejected.finish_reason = "stop";
  pair.rejected.noised_image = picture(context, 99);
  pair.strength = -0.1234567890123;
  pair.strengths = {1.0 / 3, -2};
  pair.extra = R"({"scores":{"listwise":{"3":7.25,"0":5}}})";
  return pair;
}

// What every form can hold: one turn, one image or two or none.
std::vector<PreferencePair> plain_pairs(FakeContext& context) {
  return {pair_of(context, "a/1", "What is this?", 1), pair_of(context, "b", "Compare.", 2),
          pair_of(context, "c", "Only text?\r\n", 0)};
}

std::vector<PreferencePair> conversations(FakeContext& context) {
  PreferencePair turns = pair_of(context, "turns", "And now?", 0);
  const PreferencePair first = pair_of(context, "x", "First?", 1);
  turns.prompt.messages = {
      {Message::Role::system, {Part::of_text("Be brief.")}},
      first.prompt.messages[0],
      {Message::Role::assistant, {Part::of_text("An answer.")}},
      {Message::Role::user,
       {Part::of_text("Between "), Part::of_image(picture(context, 5)), Part::of_text(" words?")}}};
  return {turns};
}

ExportCounts write(const std::string& library, const Table& params,
                   const std::vector<PreferencePair>& pairs, const fs::path& folder,
                   FakeContext& context) {
  fs::create_directories(folder);
  const auto exporter =
      PluginLibrary("exporters/" + library).make<Exporter>(library, params, context);
  Given stream(pairs);
  return exporter->write(stream, folder, {"my_set", "# Card\n"});
}

std::vector<PreferencePair> read(const std::string& type, const fs::path& file,
                                 FakeContext& context) {
  return drain(*PluginLibrary("datasets/" + type)
                    .make<Dataset>(type, {{"file", value_of(file.string())}}, context)
                    ->pairs());
}

void check_same(const std::vector<PreferencePair>& back, const std::vector<PreferencePair>& pairs) {
  REQUIRE(back.size() == pairs.size());
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    INFO(pairs[i].id);
    CHECK(back[i].id == pairs[i].id);
    CHECK(back[i].prompt.messages == pairs[i].prompt.messages);
    CHECK(back[i].prompt == pairs[i].prompt);
    CHECK(back[i].chosen == pairs[i].chosen);
    CHECK(back[i].rejected == pairs[i].rejected);
    CHECK(back[i] == pairs[i]);
  }
}

std::string text(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

}  // namespace

TEST_CASE("JSON forms: out and back without loss") {
  for (const char* form : {"llama_factory", "ms_swift", "mmpr"}) {
    INFO(form);
    FakeContext context;
    auto pairs = plain_pairs(context);
    const bool turns = std::string(form) != "mmpr";
    if (turns) pairs.push_back(conversations(context)[0]);
    const fs::path folder = context.scratch() / form;
    const ExportCounts counts =
        write("conversations", {{"form", value_of(form)}}, pairs, folder, context);
    CHECK(counts.written == pairs.size());
    CHECK(counts.left_out.empty());
    check_same(read("preferences", turns ? folder / "my_set.jsonl" : folder / "meta.json", context),
               pairs);
    const Media& image = pairs[0].prompt.messages[0].content[0].media;
    const Bytes bytes = context.media().bytes(image);
    CHECK(text(folder / "images" / (image.id + ".png")) == std::string(bytes.begin(), bytes.end()));
    CHECK(text(folder / "README.md") == "# Card\n");
  }
}

TEST_CASE("Parquet: out and back without loss") {
  if (!fs::exists(build_path("/lib/dt2it/plugins/exporters/parquet.so"))) {
    WARN("skipped: this build is without Arrow");
    return;
  }
  FakeContext context;
  auto pairs = plain_pairs(context);
  pairs.push_back(conversations(context)[0]);
  pairs.push_back(pair_of(context, "mark", "What does <image> mean in HTML?", 1));
  for (int i = 0; i < 250; ++i)
    pairs.push_back(pair_of(context, "many" + std::to_string(i), "Q", 1));
  const ExportCounts counts = write("parquet", {}, pairs, context.scratch() / "out", context);
  CHECK(counts.written == pairs.size());
  CHECK(fs::exists(context.scratch() / "out/data/train-00000-of-00001.parquet"));
  CHECK_THAT(text(context.scratch() / "out/README.md"),
             Contains("path: data/train-*") && Contains("# Card"));
  check_same(read("parquet", context.scratch() / "out/data", context), pairs);
}

TEST_CASE("What a form cannot hold is left out and counted") {
  FakeContext context;
  std::vector<PreferencePair> pairs = plain_pairs(context);
  pairs.push_back(pair_of(context, "mark", "What does <image> mean?", 1));
  pairs.push_back(pair_of(context, "absent", "What?", 1));
  pairs.back().prompt.messages[0].content[0].media =
      Media{Media::Kind::image, {}, {}, 0, 0, "gone.png", {}};
  pairs.push_back(pair_of(context, "lost", "What?", 1));
  pairs.back().prompt.messages[0].content[0].media.id = std::string(64, 'a');  // said to be there
  pairs.push_back(pair_of(context, "two", "What?", 1));
  pairs.back().rejected_prompt = pairs.back().prompt;
  pairs.back().rejected_prompt->messages[0].content[0].media = picture(context, 4);
  pairs.push_back(conversations(context)[0]);
  const auto counts = write("conversations", {{"form", value_of("mmpr")}}, pairs,
                            context.scratch() / "mmpr", context);
  CHECK(counts.written == 3);
  CHECK(counts.left_out ==
        std::map<std::string, std::size_t>{{"a text has the mark <image> in it", 1},
                                           {"an image is absent", 2},
                                           {"the two sides have prompts of their own", 1},
                                           {"has a system message", 1}});
  const auto swift = write("conversations", {{"form", value_of("ms_swift")}}, pairs,
                           context.scratch() / "swift", context);
  CHECK(swift.written == 5);
  const auto back = read("preferences", context.scratch() / "swift/my_set.jsonl", context);
  REQUIRE(back.size() == 5);
  REQUIRE(back[3].rejected_prompt);
  CHECK(back[3].rejected_prompt->messages == pairs[6].rejected_prompt->messages);
}

TEST_CASE("Marks of videos and sounds in a text are none of a conversation's, either") {
  FakeContext context;
  std::vector<PreferencePair> pairs = plain_pairs(context);
  for (const char* mark : {"<image>", "<video>", "<audio>"}) {
    const std::string text = std::string("What does ") + mark + " mean?";
    pairs.push_back(pair_of(context, "question", text, 1));
    pairs.push_back(pair_of(context, "chosen", "What?", 1));
    pairs.back().chosen.text = text;
    pairs.push_back(pair_of(context, "rejected", "What?", 1));
    pairs.back().rejected.text = text;
    pairs.push_back(pair_of(context, "two parts", "What?", 1));
    pairs.back().prompt.messages[0].content = {pairs.back().prompt.messages[0].content[0],
                                               Part::of_text(std::string(mark).substr(0, 3)),
                                               Part::of_text(std::string(mark).substr(3))};
  }
  for (const char* form : {"llama_factory", "ms_swift", "mmpr"}) {
    INFO(form);
    const auto counts = write("conversations", {{"form", value_of(form)}}, pairs,
                              context.scratch() / form, context);
    CHECK(counts.written == 3);
    CHECK(counts.left_out ==
          std::map<std::string, std::size_t>{{"a text has the mark <image> in it", 4},
                                             {"a text has the mark <video> in it", 4},
                                             {"a text has the mark <audio> in it", 4}});
  }
  if (!fs::exists(build_path("/lib/dt2it/plugins/exporters/parquet.so"))) return;
  CHECK(write("parquet", {}, pairs, context.scratch() / "out", context).written == 15);
}

TEST_CASE("Texts that are no UTF-8 make files that are: escapes in JSON, U+FFFD in Parquet") {
  const std::string high = "\xED\xA0\x80", low = "\xED\xBF\xBF", fffd = "\xEF\xBF\xBD";
  FakeContext context;
  std::vector<PreferencePair> pairs = plain_pairs(context);
  PreferencePair& odd = pairs[1];
  odd.chosen.text = "half " + high + " \U0001F642 " + low;
  odd.rejected.text = "bytes \xFF\xC3(\xF0\x9F\x99";
  odd.prompt.messages[0].content.back().text += high;
  odd.prompt.reference = "reference " + high;
  odd.group = "group " + low;
  odd.extra = R"({"half":"\ud800","pair":"\ud83d\ude42","text":"\\ud800"})";
  const auto check_back = [&](const std::vector<PreferencePair>& back) {
    REQUIRE(back.size() == 3);
    CHECK(back[0] == pairs[0]);
    CHECK(back[2] == pairs[2]);
    CHECK(back[1].id == odd.id);  // the provenance was read
    CHECK(back[1].strengths == odd.strengths);
    CHECK(back[1].prompt.reference == "reference " + fffd);
    CHECK(back[1].group == "group " + fffd);
    CHECK_THAT(back[1].extra, Contains("text"));
    CHECK(back[1].chosen.text.starts_with("half "));
    CHECK_THAT(back[1].chosen.text, Contains("\U0001F642"));
    CHECK(back[1].rejected.text == "bytes " + fffd + fffd + "(" + fffd + fffd + fffd);
  };
  for (const char* form : {"llama_factory", "ms_swift", "mmpr"}) {
    INFO(form);
    const fs::path folder = context.scratch() / form;
    CHECK(write("conversations", {{"form", value_of(form)}}, pairs, folder, context).written == 3);
    const std::string lines = text(folder / "my_set.jsonl");
    CHECK(simdjson::validate_utf8(lines));
    CHECK_THAT(lines, Contains("\"half \\ud800 \U0001F642 \\udfff\"") &&
                          Contains("bytes " + fffd + fffd + "(" + fffd) &&
                          Contains("Compare.\\ud800"));
    CHECK_THAT(lines, Contains(R"({"half":"\ufffd","pair":"\ud83d\ude42","text":"\\ud800"})"));
    check_back(read("preferences",
                    std::string(form) == "mmpr" ? folder / "meta.json" : folder / "my_set.jsonl",
                    context));
  }
  if (!fs::exists(build_path("/lib/dt2it/plugins/exporters/parquet.so"))) return;
  CHECK(write("parquet", {}, pairs, context.scratch() / "out", context).written == 3);
  const auto back = read("parquet", context.scratch() / "out/data", context);
  check_back(back);
  CHECK(back[1].chosen.text == "half " + fffd + " \U0001F642 " + fffd);
  CHECK_THAT(back[1].prompt.messages[0].content.back().text, Contains("Compare." + fffd));
}

TEST_CASE("Without provenance only the form itself is written") {
  FakeContext context;
  write("conversations", {{"provenance", value_of(false)}}, plain_pairs(context),
        context.scratch() / "bare", context);
  CHECK_THAT(text(context.scratch() / "bare/my_set.jsonl"), !Contains("dt2it"));
  CHECK_THAT(text(context.scratch() / "bare/dataset_info.json"), Contains("\"ranking\": true"));
  const auto back = read("preferences", context.scratch() / "bare/my_set.jsonl", context);
  REQUIRE(back.size() == 3);
  CHECK(back[0].chosen.text == plain_pairs(context)[0].chosen.text);
}
