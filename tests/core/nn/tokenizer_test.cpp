// SPDX-License-Identifier: Apache-2.0
#include "core/nn/tokenizer.hpp"

#include <simdjson.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <fstream>
#include <map>
#include <thread>
#include <utility>

#include "core/nn/bpe.hpp"
#include "dt2it/error.hpp"
#include "dt2it/rng.hpp"
#include "tests/core/nn/golden.hpp"

using dt2it::ModelError;
using dt2it::nn::Tokenizer;
namespace fs = std::filesystem;

namespace {

struct TemporaryFile {
  explicit TemporaryFile(const std::string& text)
      : path(fs::temp_directory_path() /
             (std::to_string(::getpid()) + "_dt2it_tokenizer_test.json")) {
    std::ofstream(path, std::ios::binary) << text;
  }
  ~TemporaryFile() { fs::remove(path); }
  fs::path path;
};

const std::string kWords = R"({"version":"1.0","truncation":null,"padding":null,
  "added_tokens":[{"id":0,"content":"<|end|>","special":true,"normalized":false}],
  "normalizer":{"type":"Sequence","normalizers":[{"type":"Lowercase"},
    {"type":"Replace","pattern":{"String":"image 1"},"content":"image1"}]},
  "pre_tokenizer":{"type":"Whitespace"},"post_processor":null,"decoder":null,
  "model":{"type":"WordLevel","unk_token":"<unk>","vocab":{"<unk>":1,"image1":2,"shows":3,"a":4,"ring":5,".":6}}})";

const std::string kBytes =
    R"({"added_tokens":[{"id":9,"content":"<s>","special":true}],"normalizer":{"type":"NFC"},
  "pre_tokenizer":{"type":"Sequence","pretokenizers":[
    {"type":"Split","pattern":{"Regex":" ?\\p{L}+|\\s+"},"behavior":"Isolated","invert":false},
    {"type":"ByteLevel","add_prefix_space":false,"use_regex":false}]},
  "decoder":{"type":"ByteLevel"},
  "model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2,"abab":3,"Ġ":4,"Ġab":5,"Ã":6,"¤":7,"Ã¤":8},
    "merges":[["a","b"],"Ġ ab",["ab","ab"],["Ã","¤"]]}})";

std::vector<std::int64_t> ids(const Tokenizer& tokenizer, std::string_view text) {
  return tokenizer.encode(text);
}

}  // namespace

TEST_CASE("A word-level tokenizer lowers, replaces and cuts out added tokens") {
  const TemporaryFile file(kWords);
  const Tokenizer tokenizer(file.path);
  CHECK(ids(tokenizer, "Image 1 shows a Ring.<|end|>\n") ==
        std::vector<std::int64_t>{2, 3, 4, 5, 6, 0});
  CHECK(ids(tokenizer, "A ring, image 2") == std::vector<std::int64_t>{4, 5, 1, 1, 1});
  CHECK(tokenizer.decode(std::vector<std::int64_t>{2, 3, 0}) == "image1 shows <|end|>");
  CHECK(tokenizer.decode(std::vector<std::int64_t>{2, 3, 0}, true) == "image1 shows");
  CHECK(tokenizer.id("ring") == 5);
  CHECK(tokenizer.id("<|end|>") == 0);
  CHECK_FALSE(tokenizer.id("bar"));
  CHECK(tokenizer.size() == 7);
}

TEST_CASE("A byte-level tokenizer merges by rank and composes accents") {
  const TemporaryFile file(kBytes);
  const Tokenizer tokenizer(file.path);
  CHECK(ids(tokenizer, "abab ab<s>b") == std::vector<std::int64_t>{3, 5, 9, 1});
  CHECK(ids(tokenizer, "a\xcc\x88") == std::vector<std::int64_t>{8});  // a + combining diaeresis
  CHECK(tokenizer.decode(std::vector<std::int64_t>{3, 5, 8}) == "abab ab\xc3\xa4");
}

TEST_CASE(
    "Added tokens take the white space beside them, are normalized like the text, and the longest "
    "wins") {
  const auto file_with = [](const std::string& added) {
    std::string text = kBytes;
    const std::string old = R"({"id":9,"content":"<s>","special":true})";
    return text.replace(text.find(old), old.size(), added);
  };
  {
    const TemporaryFile file(file_with(
        R"({"id":9,"content":"<s>","lstrip":true,"rstrip":true},{"id":10,"content":"<s>>"})"));
    const Tokenizer tokenizer(file.path);
    CHECK(ids(tokenizer, "a \u3000<s>\u00a0\n b") == std::vector<std::int64_t>{0, 9, 1});
    CHECK(ids(tokenizer, "<s>> <s> <s>") == std::vector<std::int64_t>{10, 9, 9});
  }
  const TemporaryFile file(
      file_with(R"({"id":9,"content":"a\u0308b","normalized":true},{"id":10,"content":"b<"})"));
  const Tokenizer tokenizer(file.path);
  CHECK(ids(tokenizer, "ab\u00e4bb<") == std::vector<std::int64_t>{2, 9, 10});
  CHECK(tokenizer.id("a\u0308b") == 9);
}

TEST_CASE(
    "A piece that is written in no byte alphabet decodes to itself, broken characters to one "
    "U+FFFD") {
  std::string text = kBytes;
  text.replace(text.find("<s>"), 3, "\u4e2d");
  const TemporaryFile file(text);
  const Tokenizer tokenizer(file.path);
  CHECK(tokenizer.decode(std::vector<std::int64_t>{0, 9, 6, 0}) == "a\u4e2d\ufffda");
  CHECK(tokenizer.decode(std::vector<std::int64_t>{-1, 0, 99, 1}) == "ab");
}

TEST_CASE("Threads may share tokenizers, and one thread may use several in turn") {
  const TemporaryFile first_file(kBytes);
  const Tokenizer first(first_file.path);
  std::string other = kBytes;
  other.replace(other.find("\"ab\":2,\"abab\":3"), 15, "\"ab\":3,\"abab\":2");
  const TemporaryFile second_file(other);
  const Tokenizer second(second_file.path);
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 500; ++i) {
        wrong += ids(first, "abab ab<s>b") != std::vector<std::int64_t>{3, 5, 9, 1};
        wrong += ids(second, "abab ab<s>b") != std::vector<std::int64_t>{2, 5, 9, 1};
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
}

TEST_CASE("Merging is the same for words short and long") {
  // The merges by the definition: always the earliest pair, leftmost.
  dt2it::Rng rng(3);
  for (int round = 0; round < 300; ++round) {
    dt2it::nn::BpeMerges merges;
    std::map<std::pair<std::int32_t, std::int32_t>, std::pair<int, std::int32_t>> rules;
    std::int32_t next = 254;  // some ids below and some above 256
    for (int rank = 0; rank < 40; ++rank) {
      const auto any = [&] {
        return static_cast<std::int32_t>(
            rng.below(4) ? 251 + rng.below(3)
                         : 251 + rng.below(static_cast<std::size_t>(next - 251)));
      };
      const std::int32_t left = any(), right = any();
      merges.add(left, right, next);
      rules[{left, right}] = {rank, next++};
    }
    std::vector<std::int32_t> symbols;
    for (int length = rng.integer(1, 150); length > 0; --length)
      symbols.push_back(static_cast<std::int32_t>(251 + rng.below(3)));
    std::vector<std::int32_t> expected = symbols;
    for (;;) {
      auto best = rules.end();
      std::size_t where = 0;
      for (std::size_t i = 0; i + 1 < expected.size(); ++i) {
        const auto rule = rules.find({expected[i], expected[i + 1]});
        if (rule != rules.end() && (best == rules.end() || rule->second.first < best->second.first))
          best = rule, where = i;
      }
      if (best == rules.end()) break;
      expected[where] = best->second.second;
      expected.erase(expected.begin() + static_cast<std::ptrdiff_t>(where) + 1);
    }
    merges.apply(symbols);
    REQUIRE(symbols == expected);
  }
}

TEST_CASE("What a tokenizer file asks for and is not supported is refused by name") {
  auto broken = [](std::string text, const std::string& from, const std::string& to) {
    text.replace(text.find(from), from.size(), to);
    const TemporaryFile file(text);
    try {
      Tokenizer tokenizer(file.path);
    } catch (const ModelError& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  using Catch::Matchers::Contains;
  CHECK_THAT(broken(kWords, "\"Lowercase\"", "\"NFKD\""),
             Contains("NFKD") && Contains("dt2it_tokenizer_test.json"));
  CHECK_THAT(broken(kWords, "WordLevel", "Unigram"), Contains("Unigram"));
  CHECK_THAT(broken(kWords, "\"<unk>\",\"vocab\"", "\"<none>\",\"vocab\""), Contains("<none>"));
  CHECK_THAT(broken(kBytes, "\"use_regex\":false", "\"use_regex\":true"), Contains("use_regex"));
  CHECK_THAT(broken(kBytes, "[\"ab\",\"ab\"]", "[\"ab\",\"b\"]"), Contains("not in the vocab"));
  CHECK_THAT(broken(kBytes, "{\"added", "[\"added"), Contains("JSON"));
}

TEST_CASE("The tokenizer agrees with Hugging Face on the reference strings") {
  if (dt2it::testing::golden_absent()) return;
  const fs::path golden = dt2it::testing::golden_folder();
  auto check = [](const fs::path& tokenizer_json, const fs::path& cases) {
    const Tokenizer tokenizer(tokenizer_json);
    simdjson::dom::parser parser;
    const simdjson::dom::element root = parser.load(cases.string());
    std::size_t count = 0;
    for (const auto item : root["cases"].get_array()) {
      const std::string_view text = item["text"];
      std::vector<std::int64_t> expected;
      for (const auto id : item["ids"].get_array()) expected.push_back(id.get_int64());
      CAPTURE(tokenizer_json.string(), text);
      CHECK(tokenizer.encode(text) == expected);
      CHECK(tokenizer.decode(expected) == std::string_view(item["decoded"]));
      CHECK(tokenizer.decode(expected, true) == std::string_view(item["decoded_skip_special"]));
      ++count;
    }
    CHECK(count == 200);
  };
  check(golden / "tokenizer/tokenizer.json", golden / "tokenizer/cases.json");
  if (fs::exists(golden / "../data/qwen3_tokenizer/tokenizer.json"))
    check(golden / "../data/qwen3_tokenizer/tokenizer.json",
          golden / "tokenizer/cases_qwen3_real.json");
}
