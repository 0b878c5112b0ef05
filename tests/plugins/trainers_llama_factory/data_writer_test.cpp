// SPDX-License-Identifier: Apache-2.0
#include "plugins/trainers/llama_factory/data_writer.hpp"

#include <catch2/catch.hpp>

#include "dt2it/dataset.hpp"
#include "dt2it/testing/fakes.hpp"
#include "plugins/trainers/llama_factory/files.hpp"
#include "tests/core/temporary_folder.hpp"
#include "tests/plugins/plugin_library.hpp"

using namespace dt2it;
using namespace dt2it::testing;
using llama_factory::read_text;
using llama_factory::write_data;
namespace fs = std::filesystem;

namespace {

Message message(Message::Role role, std::string text) {
  return {role, {Part::of_text(std::move(text))}};
}

PreferencePair with_image(FakeContext& context, const std::string& id, std::uint64_t seed) {
  PreferencePair pair = sample_pair(id, "What color?", "red\n\"x\"", "blue");
  pair.prompt.messages[0].content.insert(
      pair.prompt.messages[0].content.begin(),
      Part::of_image(context.media().put_image(sample_image(16, 16, seed), "drawn")));
  return pair;
}

llama_factory::WrittenData write(FakeContext& context, std::vector<PreferencePair> pairs,
                                 const fs::path& folder, bool ranking) {
  VectorStream<PreferencePair> stream(std::move(pairs));
  return write_data(stream, context.media(), folder, ranking);
}

}  // namespace

TEST_CASE("Pairs are written as LLaMA-Factory's ranking data, images once by content") {
  const TemporaryFolder folder;
  FakeContext context;
  std::vector<PreferencePair> pairs{with_image(context, "a", 1), with_image(context, "b", 1),
                                    sample_pair("c", "Why?", "So.", "No.")};
  pairs[2].prompt.messages = {
      message(Message::Role::system, "Be short."), message(Message::Role::user, "Hi"),
      message(Message::Role::assistant, "Hello"), message(Message::Role::user, "Why?")};
  const auto written = write(context, pairs, folder.path(), true);
  CHECK(written.pairs == 3);
  CHECK(written.left_out.empty());
  const std::string image = "media/" + pairs[0].prompt.messages[0].content[0].media.id + ".png";
  const std::string first =
      R"({"conversations":[{"from":"human","value":"<image>What color?"}],)"
      R"("chosen":{"from":"gpt","value":"red\n\"x\""},"rejected":{"from":"gpt","value":"blue"},)"
      R"("images":[")" +
      image +
      R"("],"videos":[]})"
      "\n";
  CHECK(
      read_text(folder.path() / "pairs.jsonl") ==
      first + first +
          R"({"conversations":[{"from":"system","value":"Be short."},{"from":"human","value":"Hi"},)"
          R"({"from":"gpt","value":"Hello"},{"from":"human","value":"Why?"}],)"
          R"("chosen":{"from":"gpt","value":"So."},"rejected":{"from":"gpt","value":"No."},"images":[],"videos":[]})"
          "\n");
  CHECK(std::distance(fs::directory_iterator(folder.path() / "media"), {}) == 1);
  const Bytes bytes = context.media().bytes(pairs[0].prompt.messages[0].content[0].media);
  CHECK(read_text(folder.path() / image) == std::string(bytes.begin(), bytes.end()));
  CHECK(
      read_text(folder.path() / "dataset_info.json") ==
      R"({"pairs":{"file_name":"pairs.jsonl","formatting":"sharegpt","ranking":true,"columns":{"messages":"conversations",)"
      R"("images":"images","videos":"videos","chosen":"chosen","rejected":"rejected"}}})"
      "\n");
}

TEST_CASE("Supervised data has the chosen response as the last turn") {
  const TemporaryFolder folder;
  FakeContext context;
  CHECK(write(context, {sample_pair("c", "Why?", "So.", "No.")}, folder.path(), false).pairs == 1);
  CHECK(
      read_text(folder.path() / "pairs.jsonl") ==
      R"({"conversations":[{"from":"human","value":"Why?"},{"from":"gpt","value":"So."}],"images":[],"videos":[]})"
      "\n");
  CHECK(read_text(folder.path() / "dataset_info.json").find(R"("ranking":false)") !=
        std::string::npos);
}

TEST_CASE("What LLaMA-Factory's format cannot hold is left out and counted") {
  const TemporaryFolder folder;
  FakeContext context;
  std::vector<PreferencePair> pairs(7, sample_pair("x", "Why?", "So.", "No."));
  pairs[1].rejected_prompt = pairs[1].prompt;
  pairs[2].chosen.text = "See <image>";
  pairs[3].prompt.messages[0].content.push_back(Part::of_image({}));
  pairs[4].prompt.messages.push_back(message(Message::Role::user, "And?"));
  pairs[5].prompt.messages.push_back(message(Message::Role::assistant, "So."));
  pairs[6].prompt.messages.push_back(message(Message::Role::system, "Late."));
  auto written = write(context, pairs, folder.path(), true);
  CHECK(written.pairs == 1);
  CHECK(written.left_out.size() == 6);
  for (const auto& [reason, count] : written.left_out) CHECK(count == 1);
  // Without rejected responses their prompts do not matter.
  CHECK(write(context, {pairs[1]}, folder.path(), false).pairs == 1);
  CHECK_THROWS_WITH(write(context, {pairs[2], pairs[2]}, folder.path(), true),
                    Catch::Contains("no pairs to train on; 2 with a text that contains <image>"));
}

TEST_CASE("What is written reads back as the same pairs") {
  const TemporaryFolder folder;
  FakeContext context;
  const std::vector<PreferencePair> pairs{with_image(context, "a", 1), with_image(context, "b", 2)};
  write(context, pairs, folder.path(), true);
  static const PluginLibrary plugin("datasets/preferences");
  const auto dataset = plugin.make<Dataset>(
      "preferences", {{"file", value_of((folder.path() / "pairs.jsonl").string())}}, context);
  const auto stream = dataset->pairs();
  for (const PreferencePair& pair : pairs) {
    PreferencePair back;
    REQUIRE(stream->next(back));
    CHECK(back.chosen.text == pair.chosen.text);
    CHECK(back.rejected.text == pair.rejected.text);
    REQUIRE(back.prompt.messages[0].content.size() == 2);
    CHECK(back.prompt.messages[0].content[0].media.id ==
          pair.prompt.messages[0].content[0].media.id);
    CHECK(back.prompt.messages[0].content[1].text == "What color?");
  }
}
