// SPDX-License-Identifier: Apache-2.0
// Broken tokenizer files: each is refused with a ModelError that names it, or gives a tokenizer
// that works.
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "core/nn/text_file.hpp"
#include "core/nn/tokenizer.hpp"
#include "dt2it/error.hpp"
#include "dt2it/rng.hpp"

using namespace dt2it;
using nn::Tokenizer;
namespace fs = std::filesystem;

namespace {

// A byte-level tokenizer with everything that real ones have.
std::string healthy() {
  std::string vocab, merges;
  int id = 0;
  const auto token = [&](const std::string& text) {
    vocab += (id ? "," : "") + ("\"" + text + "\":") + std::to_string(id), ++id;
  };
  for (char c = 'a'; c <= 'z'; ++c) token(std::string(1, c));
  token("\u0120");
  token("\u00c3");
  token("\u00a9");
  for (const auto& [left, right] :
       std::vector<std::pair<std::string, std::string>>{{"t", "h"},
                                                        {"th", "e"},
                                                        {"\u0120", "the"},
                                                        {"a", "n"},
                                                        {"an", "d"},
                                                        {"\u0120", "a"},
                                                        {"\u00c3", "\u00a9"}}) {
    token(left + right);
    merges += (merges.empty() ? "" : ",") + ("[\"" + left + "\",\"" + right + "\"]");
  }
  return R"({"version":"1.0","truncation":null,"padding":null,"added_tokens":[
    {"id":40,"content":"<|end|>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true},
    {"id":41,"content":"<tool>","single_word":false,"lstrip":true,"rstrip":true,"normalized":true,"special":false}],
    "normalizer":{"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Replace","pattern":{"String":"``"},"content":"q"}]},
    "pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":" ?\\p{L}+|\\s+(?!\\S)|\\s+"},
    "behavior":"Isolated","invert":false},{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":false,"use_regex":false}]},
    "post_processor":null,"decoder":{"type":"ByteLevel"},"model":{"type":"BPE","dropout":null,"unk_token":null,
    "continuing_subword_prefix":"","end_of_word_suffix":"","fuse_unk":false,"byte_fallback":false,"ignore_merges":false,
    "vocab":{)" +
         vocab + R"(},"merges":[)" + merges + "]}}";
}

// Loads and uses it: 0 works, 1 refused. Anything else escapes and fails the test.
int outcome(const std::string& json) {
  const fs::path path =
      fs::temp_directory_path() / ("dt2it_hostile_" + std::to_string(::getpid()) + ".json");
  nn::write_text_file(path, json);
  int result = 0;
  try {
    const Tokenizer tokenizer(path);
    for (const std::string& text : {std::string("the cat and caf\u00e9 <|end|> <tool> ``"),
                                    std::string(300, 'a') + "!", std::string("\xff\0 \xe4", 4)}) {
      std::vector<std::int64_t> ids = tokenizer.encode(text);
      for (const std::int64_t id : ids) REQUIRE((id >= 0 && id < tokenizer.size()));
      ids.insert(ids.end(), {-1, 0, tokenizer.size(), std::int64_t{1} << 40});
      tokenizer.decode(ids);
      tokenizer.decode(ids, true);
    }
    tokenizer.id("the");
  } catch (const ModelError& error) {
    CHECK(std::string(error.what()).size() < 4096);
    result = 1;
  }
  fs::remove(path);
  return result;
}

std::string with(std::string text, const std::string& from, const std::string& to) {
  const auto at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

std::string repeated(const std::string& unit, int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += unit;
  return out;
}

long peak_kib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

}  // namespace

TEST_CASE("The healthy file works") { CHECK(outcome(healthy()) == 0); }

TEST_CASE("200 tokenizer files mutated at random are refused or work, without much memory") {
  const std::string good = healthy();
  const long before = peak_kib();
  int refused = 0, count = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    Rng rng(seed);
    std::string text = good;
    for (int changes = rng.integer(1, 4); changes > 0 && !text.empty(); --changes) {
      const std::size_t at = rng.below(text.size());
      switch (rng.below(8)) {
        case 0: text.resize(at); break;                               // truncated
        case 1: text[at] = static_cast<char>(rng.below(256)); break;  // any byte
        case 2: text.erase(at, rng.below(40)); break;
        case 3:
          text.insert(at, text.substr(rng.below(text.size()), rng.below(60)));
          break;   // doubled entries
        case 4: {  // another number
          const auto digit = text.find_first_of("0123456789", at);
          if (digit != std::string::npos)
            text.replace(digit, 1,
                         std::vector<std::string>{"-1", "99999999999", "16777216", "1e3", "null",
                                                  "70000"}[rng.below(6)]);
          break;
        }
        case 5: {  // another type
          const auto value = text.find_first_of("\"[{", at);
          if (value != std::string::npos)
            text.insert(value, std::vector<std::string>{"7,", "null,", "{},", "[],",
                                                        "true,"}[rng.below(5)]);
          break;
        }
        case 6: {  // a value for another
          const auto value = text.find_first_of(":", at);
          const auto end = text.find_first_of(",}]", value);
          if (end != std::string::npos)
            text.replace(
                value + 1, end - value - 1,
                std::vector<std::string>{"null", "true", "3", "\"x\"", "[]", "{}"}[rng.below(6)]);
          break;
        }
        default: std::swap(text[at], text[rng.below(text.size())]); break;
      }
    }
    CAPTURE(seed, text);
    refused += outcome(text);
    ++count;
  }
  CHECK(count == 200);
  CHECK(refused > 100);
  CHECK(refused < 200);  // some changes do no harm
  CHECK(peak_kib() - before < 200 << 10);
}

TEST_CASE("Tokenizer files that lie are refused") {
  const std::string good = healthy();
  const std::string split = R"( ?\\p{L}+|\\s+(?!\\S)|\\s+)";
  const long before = peak_kib();
  for (const std::string& broken : {
           std::string(),
           std::string("null"),
           std::string("[]"),
           std::string("\"text\""),
           good.substr(0, good.size() - 1),
           with(good, "\"the\"", "\"t\xff\x65\""),    // not UTF-8
           with(good, "\"t\",\"h\"", "\"t\",\"q\""),  // merges into no token
           with(good, "[\"t\",\"h\"]", "[\"t\"]"),
           with(good, "[\"t\",\"h\"]", "[\"t\",\"h\",\"e\"]"),
           with(good, "[\"t\",\"h\"]", "\"th\""),
           with(good, "[\"t\",\"h\"]", "7"),
           with(good, "\"id\":40", "\"id\":16777215"),
           with(good, "\"id\":40", "\"id\":9223372036854775807"),
           with(good, "\"id\":40", "\"id\":-3"),
           with(good, "\"id\":40", "\"id\":1.5"),
           with(good, "\"a\":0", "\"a\":16000000"),
           with(good, "<|end|>", ""),
           with(good, "\"merges\"", "\"mergers\""),
           with(good, "\"vocab\"", "\"vocabulary\""),
           with(good, "\"model\"", "\"modell\""),
           with(good, "\"fuse_unk\":false", "\"fuse_unk\":3"),
           with(good, "\"fuse_unk\":false", "\"fuse_unk\":true"),
           with(good, split, "(("),
           with(good, split, repeated("(", 5000)),
           with(good, split, "(?:(?:ab){1000}){1000}"),
           with(good, split, "\\\\C"),
           with(good, split, "(a+)+[xyz]"),
           with(good, "{\"type\":\"NFC\"}", repeated("[", 5000)),
           repeated("{\"normalizer\":", 5000) + "1" + repeated("}", 5000),
           with(good, "{\"type\":\"NFC\"}",
                repeated("{\"type\":\"Sequence\",\"normalizers\":[", 900) + repeated("]}", 900)) +
               "x",
           with(good, "{\"type\":\"NFC\"}",
                repeated("{\"type\":\"NFC\"},", 500) + "{\"type\":\"NFC\"}"),
       }) {
    CAPTURE(broken.substr(0, 3000));
    CHECK(outcome(broken) == 1);
  }
  CHECK(peak_kib() - before < 200 << 10);
}

TEST_CASE("Odd but possible tokenizer files work") {
  const std::string good = healthy();
  for (const std::string& odd : {
           with(good, "[\"t\",\"h\"]", "[\"t\",\"h\"],[\"t\",\"h\"]"),  // a merge twice
           with(good, "\"a\":0", "\"a\":0,\"a\":0"),                    // a token twice
           with(good, "\"b\":1", "\"b\":0"),                            // an id twice
           with(good, "\"id\":41", "\"id\":60000"),                     // a gap
           with(good, "{\"type\":\"NFC\"}",
                repeated("{\"type\":\"Sequence\",\"normalizers\":[", 300) + repeated("]}", 300)),
           with(good, R"( ?\\p{L}+|\\s+(?!\\S)|\\s+)", "a*"),
           with(good, R"( ?\\p{L}+|\\s+(?!\\S)|\\s+)", "(?=a)"),
       }) {
    CAPTURE(odd.substr(0, 3000));
    CHECK(outcome(odd) == 0);
  }
}
