// SPDX-License-Identifier: Apache-2.0
#include "core/nn/tokenizer.hpp"

#include <catch2/catch.hpp>
#include <simdjson.h>

#include <fstream>

#include "core/nn/safetensors.hpp"
#include "dt2it/error.hpp"
#include "tests/core/nn/golden.hpp"

using dt2it::ModelError;
using dt2it::nn::Tokenizer;
namespace fs = std::filesystem;

namespace {

struct TemporaryFile {
  explicit TemporaryFile(const std::string& text) : path(fs::temp_directory_path() / "dt2it_tokenizer_test.json") {
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

const std::string kBytes = R"({"added_tokens":[{"id":9,"content":"<s>","special":true}],"normalizer":{"type":"NFC"},
  "pre_tokenizer":{"type":"Sequence","pretokenizers":[
    {"type":"Split","pattern":{"Regex":" ?\\p{L}+|\\s+"},"behavior":"Isolated","invert":false},
    {"type":"ByteLevel","add_prefix_space":false,"use_regex":false}]},
  "decoder":{"type":"ByteLevel"},
  "model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2,"abab":3,"Ġ":4,"Ġab":5,"Ã":6,"¤":7,"Ã¤":8},
    "merges":[["a","b"],"Ġ ab",["ab","ab"],["Ã","¤"]]}})";

std::vector<std::int64_t> ids(const Tokenizer& tokenizer, std::string_view text) { return tokenizer.encode(text); }

}  // namespace

TEST_CASE("A word-level tokenizer lowers, replaces and cuts out added tokens") {
  const TemporaryFile file(kWords);
  const Tokenizer tokenizer(file.path);
  CHECK(ids(tokenizer, "Image 1 shows a Ring.<|end|>\n") == std::vector<std::int64_t>{2, 3, 4, 5, 6, 0});
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
  CHECK_THAT(broken(kWords, "\"Lowercase\"", "\"NFKD\""), Contains("NFKD") && Contains("dt2it_tokenizer_test.json"));
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
    check(golden / "../data/qwen3_tokenizer/tokenizer.json", golden / "tokenizer/cases_qwen3_real.json");
}
