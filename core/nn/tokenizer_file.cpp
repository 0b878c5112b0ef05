// SPDX-License-Identifier: Apache-2.0
#include "core/nn/tokenizer_file.hpp"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <utility>

#include "core/nn/text_file.hpp"
#include "dt2it/error.hpp"

namespace dt2it::nn {
namespace {

using simdjson::dom::element;

constexpr std::size_t kMostSteps = 32;  // normalizers, splitters; real files have two or three

class Reader {
 public:
  explicit Reader(const std::filesystem::path& path) : path_(path) {}

  TokenizerFile read() {
    const std::string text = read_text_file(path_);
    simdjson::dom::parser parser;
    element root, part;
    if (const auto error = parser.parse(text).get(root))
      fail(fmt::format("is not JSON: {}", error_message(error)));
    if (!root.is_object()) fail("is not a JSON object");
    if (!root["normalizer"].get(part)) read_normalizer(part);
    if (!root["pre_tokenizer"].get(part)) read_pre_tokenizer(part);
    if (root["model"].get(part) || !part.is_object()) fail("has no model");
    read_model(part);
    if (!root["added_tokens"].get(part) && !part.is_null()) read_added(part);
    if (!root["decoder"].get(part) && !part.is_null()) {
      std::string_view type;
      if (part["type"].get(type) || type != "ByteLevel")
        fail("its decoder is not supported (ByteLevel or none)");
      file_.byte_decoder = true;
    }
    lay_out_pieces();
    return std::move(file_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw ModelError(fmt::format("{}: {}", path_.string(), what));
  }

  // A key that is missing or null is false; anything but a truth value is an error.
  bool flag(element from, const char* key) const {
    element value;
    bool set = false;
    if (from[key].get(value) || value.is_null()) return false;
    if (value.get(set)) fail(fmt::format("'{}' is neither true nor false", key));
    return set;
  }

  std::string_view text(element from, const char* key) const {
    element value;
    std::string_view found;
    if (from[key].get(value) || value.is_null()) return {};
    if (value.get(found)) fail(fmt::format("'{}' is not a text", key));
    return found;
  }

  std::int32_t id_of(std::string_view token, element value) const {
    std::int64_t id = 0;
    if (value.get(id)) fail(fmt::format("token '{}' has no integer id", token));
    if (id < 0 || id > (1 << 24))
      fail(fmt::format("token '{}' has the impossible id {}", token, id));
    return static_cast<std::int32_t>(id);
  }

  void read_normalizer(element item) {
    if (item.is_null()) return;
    const std::string_view type = text(item, "type");
    simdjson::dom::array list;
    if (type == "Sequence") {
      if (item["normalizers"].get(list)) fail("the normalizer Sequence has no list");
      for (const element inner : list) read_normalizer(inner);
    } else if (type == "NFC") {
      file_.normalizers.push_back({Normalizer::Type::compose, {}, {}});
    } else if (type == "Lowercase") {
      file_.normalizers.push_back({Normalizer::Type::lower, {}, {}});
    } else if (type == "Replace") {
      std::string_view from, to;
      if (item["pattern"]["String"].get(from) || item["content"].get(to) || from.empty())
        fail(
            "the normalizer Replace needs a pattern String (regular expressions are not supported) "
            "and a content");
      file_.normalizers.push_back({Normalizer::Type::replace, std::string(from), std::string(to)});
    } else {
      fail(fmt::format("normalizer '{}' is not supported (Sequence, NFC, Lowercase, Replace)",
                       type));
    }
    if (file_.normalizers.size() > kMostSteps)
      fail(fmt::format("has more than {} normalizers", kMostSteps));
  }

  void add_splitter(std::string_view pattern, bool keep_between) {
    if (file_.splitters.size() == kMostSteps)
      fail(fmt::format("has more than {} pre-tokenizers", kMostSteps));
    try {
      file_.splitters.emplace_back(pattern, keep_between);
    } catch (const ModelError& error) {
      fail(error.what());
    }
  }

  void read_pre_tokenizer(element item) {
    if (item.is_null()) return;
    const std::string_view type = text(item, "type");
    simdjson::dom::array list;
    if (type == "Sequence") {
      if (item["pretokenizers"].get(list)) fail("the pre-tokenizer Sequence has no list");
      for (const element inner : list) read_pre_tokenizer(inner);
    } else if (type == "Whitespace") {  // Rust's \w+|[^\w\s]+, which PCRE2 understands differently
                                        // by version
      constexpr std::string_view kWord = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control})";
      add_splitter(fmt::format(R"([{0}]+|[^{0}\s]+)", kWord), false);
    } else if (type == "Split") {
      std::string_view pattern;
      if (item["pattern"]["Regex"].get(pattern) || text(item, "behavior") != "Isolated" ||
          flag(item, "invert"))
        fail(
            "the pre-tokenizer Split is supported with a Regex, behavior Isolated and invert false "
            "only");
      add_splitter(pattern, true);
    } else if (type == "ByteLevel") {
      bool own_pattern = true;
      if (flag(item, "add_prefix_space")) fail("ByteLevel with add_prefix_space is not supported");
      if (item["use_regex"].get(own_pattern) || own_pattern)
        fail("ByteLevel with use_regex is not supported");
      file_.byte_level = true;
    } else {
      fail(fmt::format(
          "pre-tokenizer '{}' is not supported (Sequence, Whitespace, Split, ByteLevel)", type));
    }
  }

  void read_model(element model) {
    std::string_view type = text(model, "type");
    if (type.empty()) type = "BPE";
    if (type != "BPE" && type != "WordLevel")
      fail(fmt::format("model '{}' is not supported (BPE, WordLevel)", type));
    file_.word_level = type == "WordLevel";
    simdjson::dom::object words;
    if (model["vocab"].get(words)) fail("the model has no vocab");
    for (const auto [piece, value] : words) file_.vocabulary.set(piece, id_of(piece, value));
    if (const std::string_view token = text(model, "unk_token"); !token.empty()) {
      file_.unknown = file_.vocabulary.find(token);
      if (!file_.unknown) fail(fmt::format("unk_token '{}' is not in the vocab", token));
    }
    if (file_.word_level) {
      if (!file_.unknown) fail("a WordLevel model needs an unk_token");
      return;
    }
    if (!file_.byte_level) fail("a BPE model is supported with the ByteLevel pre-tokenizer only");
    for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"})
      if (!text(model, affix).empty()) fail(fmt::format("BPE with {} is not supported", affix));
    for (const char* what : {"byte_fallback", "fuse_unk"})
      if (flag(model, what)) fail(fmt::format("BPE with {} is not supported", what));
    double dropout = 0;
    if (!model["dropout"].get(dropout) && dropout > 0) fail("BPE with dropout is not supported");
    file_.ignore_merges = flag(model, "ignore_merges");
    for (std::size_t byte = 0; byte < 256; ++byte)
      file_.byte_ids[byte] = file_.vocabulary.find(file_.alphabet[byte]).value_or(-1);
    simdjson::dom::array merges;
    if (model["merges"].get(merges)) fail("the BPE model has no merges");
    read_merges(merges);
  }

  void read_merges(simdjson::dom::array merges) {
    file_.merges = BpeMerges(merges.size());
    std::string both;
    for (const element item : merges) {
      std::string_view left, right, text;
      simdjson::dom::array pair;
      if (!item.get(pair)) {
        auto half = pair.begin();
        const auto end = pair.end();
        if (half == end || (*half).get(left) || ++half == end || (*half).get(right) ||
            ++half != end)
          fail("a merge is not a pair of texts");
      } else if (!item.get(text)) {  // the older form: both in one text
        const auto space = text.find(' ');
        if (space == std::string_view::npos) fail(fmt::format("merge '{}' is not a pair", text));
        left = text.substr(0, space);
        right = text.substr(space + 1);
      } else {
        fail("a merge is not a pair of texts");
      }
      (both = left) += right;
      const auto a = file_.vocabulary.find(left), b = file_.vocabulary.find(right),
                 merged = file_.vocabulary.find(both);
      if (!a || !b || !merged)
        fail(fmt::format("merge '{}' + '{}' is not in the vocab", left, right));
      file_.merges.add(*a, *b, *merged);
    }
  }

  void read_added(element list) {
    simdjson::dom::array items;
    if (list.get(items)) fail("added_tokens is not a list");
    for (const element item : items) {
      const std::string_view content = text(item, "content");
      element id;
      if (content.empty() || item["id"].get(id)) fail("an added token has no content or id");
      AddedToken token{std::string(content),     id_of(content, id),   flag(item, "special"),
                       flag(item, "normalized"), flag(item, "lstrip"), flag(item, "rstrip")};
      if (flag(item, "single_word"))
        fail(fmt::format("added token '{}' is single_word, which is not supported", content));
      file_.added_ids.set(content, static_cast<std::int32_t>(token.id));
      if (token.special) special_.push_back(token.id);
      if (token.normalized) {
        std::array<std::string, 2> buffers;
        token.text = std::string(file_.normalise(token.text, buffers));
        if (token.text.empty()) continue;
      }
      file_.added_tokens.push_back(std::move(token));
    }
    std::stable_sort(
        file_.added_tokens.begin(), file_.added_tokens.end(),
        [](const AddedToken& a, const AddedToken& b) { return a.text.size() > b.text.size(); });
  }

  // Added tokens over those of the model.
  void lay_out_pieces() {
    const auto entries = file_.vocabulary.entries().size() + file_.added_ids.entries().size();
    std::size_t size = 0;
    std::string_view largest;
    for (const Vocabulary* tokens : {&file_.vocabulary, &file_.added_ids})
      for (const auto& entry : tokens->entries())
        if (static_cast<std::size_t>(entry.id) >= size) {
          size = static_cast<std::size_t>(entry.id) + 1;
          largest = tokens->text(entry);
        }
    // Tables by id are allocated, so a single absurd id must not cost memory.
    if (size > 4 * entries + (1 << 16))
      fail(fmt::format("token '{}' has the impossible id {}, of {} tokens", largest, size - 1,
                       entries));
    file_.pieces.resize(size);

    std::array<std::int16_t, 0x200> byte_of;
    byte_of.fill(-1);
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const char* at = file_.alphabet[byte].data();
      byte_of[next_code(at)] = static_cast<std::int16_t>(byte);
    }
    for (const Vocabulary* tokens : {&file_.vocabulary, &file_.added_ids})
      for (const auto& entry : tokens->entries()) {
        const std::string_view piece = tokens->text(entry);
        const std::size_t begin = file_.decoded.size();
        bool bytes = file_.byte_decoder;  // a piece with a character that stands for no byte is
                                          // taken as it is
        for (const char* at = piece.data(); bytes && at < piece.data() + piece.size();) {
          const char32_t code = next_code(at);
          bytes = code < byte_of.size() && byte_of[code] >= 0;
          if (bytes) file_.decoded += static_cast<char>(byte_of[code]);
        }
        if (!bytes) file_.decoded.replace(begin, std::string::npos, piece);
        file_.pieces[static_cast<std::size_t>(entry.id)] = {
            static_cast<std::uint32_t>(begin),
            static_cast<std::uint32_t>(file_.decoded.size() - begin), true, false};
      }
    for (const std::int64_t id : special_)
      file_.pieces[static_cast<std::size_t>(id)].special = true;
  }

  std::filesystem::path path_;
  TokenizerFile file_;
  std::vector<std::int64_t> special_;
};

}  // namespace

std::string_view TokenizerFile::normalise(std::string_view text,
                                          std::array<std::string, 2>& buffers) const {
  std::size_t free = 0;
  for (const Normalizer& normalizer : normalizers) {
    const std::string_view made = normalizer.apply(text, buffers[free]);
    if (made.data() == buffers[free].data()) free ^= 1;
    text = made;
  }
  return text;
}

TokenizerFile read_tokenizer_file(const std::filesystem::path& path) {
  try {
    return Reader(path).read();
  } catch (const simdjson::simdjson_error& error) {
    throw ModelError(fmt::format("{}: {}", path.string(), error.what()));
  }
}

}  // namespace dt2it::nn
