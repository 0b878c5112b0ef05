// SPDX-License-Identifier: Apache-2.0
#include "core/nn/tokenizer.hpp"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmt/format.h>
#include <pcre2.h>
#include <simdjson.h>
#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <unordered_map>

#include "core/nn/bpe.hpp"
#include "core/nn/text_file.hpp"
#include "dt2it/error.hpp"

namespace dt2it::nn {
namespace {

struct StringHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};

// Every match of a pattern, and what lies between matches, in order: what Hugging Face calls Isolated.
class Pattern {
 public:
  explicit Pattern(std::string_view text) {
    int error = 0;
    PCRE2_SIZE offset = 0;
    code_ = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), PCRE2_UTF | PCRE2_UCP, &error,
                          &offset, nullptr);
    if (!code_) throw ModelError(fmt::format("pattern '{}' is wrong at character {}", text, offset));
    pcre2_jit_compile(code_, PCRE2_JIT_COMPLETE);
  }
  ~Pattern() { pcre2_code_free(code_); }
  Pattern(const Pattern&) = delete;
  Pattern& operator=(const Pattern&) = delete;

  template <class Visit>
  void split(std::string_view text, bool keep_between, Visit visit) const {
    pcre2_match_data* match = pcre2_match_data_create_from_pattern(code_, nullptr);
    std::size_t at = 0;
    while (at < text.size()) {
      const int count = pcre2_match(code_, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), at,
                                    PCRE2_NO_UTF_CHECK, match, nullptr);
      if (count < 1) break;
      const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(match);
      if (bounds[1] <= bounds[0]) break;  // an empty match cannot be a piece
      if (keep_between && bounds[0] > at) visit(text.substr(at, bounds[0] - at));
      visit(text.substr(bounds[0], bounds[1] - bounds[0]));
      at = bounds[1];
    }
    pcre2_match_data_free(match);
    if (keep_between && at < text.size()) visit(text.substr(at));
  }

 private:
  pcre2_code* code_ = nullptr;
};

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

// Replaces every byte that is not part of valid UTF-8 by U+FFFD.
std::string valid_utf8(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    utf8proc_int32_t code = 0;
    const auto length = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()) + i,
                                         static_cast<utf8proc_ssize_t>(text.size() - i), &code);
    if (length <= 0) {
      out += "\xef\xbf\xbd";
      ++i;
    } else {
      out += text.substr(i, static_cast<std::size_t>(length));
      i += static_cast<std::size_t>(length);
    }
  }
  return out;
}

std::string compose(const std::string& text) {
  if (is_ascii(text)) return text;
  utf8proc_uint8_t* made = nullptr;
  const auto length =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
                   &made, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  if (length < 0) return text;
  std::string out(reinterpret_cast<const char*>(made), static_cast<std::size_t>(length));
  std::free(made);
  return out;
}

std::string lower(std::string text) {
  if (is_ascii(text)) {
    for (char& c : text)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return text;
  }
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    utf8proc_int32_t code = 0;
    const auto length = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()) + i,
                                         static_cast<utf8proc_ssize_t>(text.size() - i), &code);
    if (length <= 0) break;
    std::array<utf8proc_uint8_t, 4> bytes{};
    const auto written = utf8proc_encode_char(utf8proc_tolower(code), bytes.data());
    out.append(reinterpret_cast<const char*>(bytes.data()), static_cast<std::size_t>(written));
    i += static_cast<std::size_t>(length);
  }
  return out;
}

struct Normalizer {
  enum class Type { compose, lower, replace } type;
  std::string from, to;
};

struct AddedToken {
  std::string text;
  std::int64_t id = 0;
  bool special = false, normalized = false, left_strip = false, right_strip = false;
};

}  // namespace

struct Tokenizer::Impl {
  std::string file;
  std::vector<Normalizer> normalizers;
  std::vector<std::unique_ptr<Pattern>> splits;
  bool between = true;    // pieces between matches are kept (Split) or dropped (Whitespace)
  bool byte_level = false;
  bool byte_decoder = false;
  bool word_level = false;
  bool ignore_merges = false;
  std::optional<std::int32_t> unknown;
  std::unordered_map<std::string, std::int32_t, StringHash, std::equal_to<>> vocabulary;
  std::vector<std::string> pieces;  // by id
  std::vector<bool> special, added;
  std::vector<AddedToken> added_tokens;  // longest first
  std::array<bool, 256> added_starts{};
  BpeMerges merges;
  std::array<std::int32_t, 256> byte_ids{};
  std::array<std::string, 256> alphabet = byte_alphabet();
  std::unordered_map<std::string, unsigned char, StringHash, std::equal_to<>> byte_of;

  [[noreturn]] void fail(const std::string& what) const { throw ModelError(fmt::format("{}: {}", file, what)); }

  void read_normalizer(simdjson::dom::element element) {
    if (element.is_null()) return;
    std::string_view type;
    if (element["type"].get(type)) fail("a normalizer has no type");
    if (type == "Sequence") {
      simdjson::dom::array list;
      if (element["normalizers"].get(list)) fail("the normalizer Sequence has no list");
      for (const auto item : list) read_normalizer(item);
    } else if (type == "NFC") {
      normalizers.push_back({Normalizer::Type::compose, {}, {}});
    } else if (type == "Lowercase") {
      normalizers.push_back({Normalizer::Type::lower, {}, {}});
    } else if (type == "Replace") {
      std::string_view from, to;
      if (element["pattern"]["String"].get(from) || element["content"].get(to) || from.empty())
        fail("the normalizer Replace needs a pattern String (regular expressions are not supported) and a content");
      normalizers.push_back({Normalizer::Type::replace, std::string(from), std::string(to)});
    } else {
      fail(fmt::format("normalizer {} is not supported (Sequence, NFC, Lowercase, Replace)", type));
    }
  }

  void read_pre_tokenizer(simdjson::dom::element element) {
    if (element.is_null()) return;
    std::string_view type;
    if (element["type"].get(type)) fail("a pre-tokenizer has no type");
    if (type == "Sequence") {
      simdjson::dom::array list;
      if (element["pretokenizers"].get(list)) fail("the pre-tokenizer Sequence has no list");
      for (const auto item : list) read_pre_tokenizer(item);
    } else if (type == "Whitespace") {
      splits.push_back(std::make_unique<Pattern>(R"(\w+|[^\w\s]+)"));
      between = false;
    } else if (type == "Split") {
      std::string_view pattern, behaviour;
      bool invert = false;
      if (element["pattern"]["Regex"].get(pattern) || element["behavior"].get(behaviour) || behaviour != "Isolated" ||
          (!element["invert"].get(invert) && invert))
        fail("the pre-tokenizer Split is supported with a Regex, behavior Isolated and invert false only");
      splits.push_back(std::make_unique<Pattern>(pattern));
    } else if (type == "ByteLevel") {
      bool prefix = false, pattern = true;
      if (!element["add_prefix_space"].get(prefix) && prefix) fail("ByteLevel with add_prefix_space is not supported");
      if (element["use_regex"].get(pattern) || pattern) fail("ByteLevel with use_regex is not supported");
      byte_level = true;
    } else {
      fail(fmt::format("pre-tokenizer {} is not supported (Sequence, Whitespace, Split, ByteLevel)", type));
    }
  }

  void put(std::string_view piece, std::int64_t id) {
    if (id < 0 || id > (1 << 24)) fail(fmt::format("token '{}' has an impossible id", piece));
    const auto at = static_cast<std::size_t>(id);
    if (pieces.size() <= at) {
      pieces.resize(at + 1);
      special.resize(at + 1);
      added.resize(at + 1);
    }
    pieces[at] = piece;
  }

  void read_model(simdjson::dom::element model) {
    std::string_view type, text;
    if (model["type"].get(type)) type = "BPE";
    if (type != "BPE" && type != "WordLevel") fail(fmt::format("model {} is not supported (BPE, WordLevel)", type));
    word_level = type == "WordLevel";
    simdjson::dom::object words;
    if (model["vocab"].get(words)) fail("the model has no vocab");
    for (const auto [piece, value] : words) {
      std::int64_t id = 0;
      if (value.get(id)) fail(fmt::format("token '{}' has no integer id", piece));
      put(piece, id);
      vocabulary.emplace(piece, static_cast<std::int32_t>(id));
    }
    if (!model["unk_token"].get(text)) {
      const auto found = vocabulary.find(text);
      if (found == vocabulary.end()) fail(fmt::format("unk_token '{}' is not in the vocab", text));
      unknown = found->second;
    }
    if (word_level) {
      if (!unknown) fail("a WordLevel model needs an unk_token");
      return;
    }
    if (!byte_level) fail("a BPE model is supported with the ByteLevel pre-tokenizer only");
    for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"})
      if (!model[affix].get(text) && !text.empty()) fail(fmt::format("BPE with {} is not supported", affix));
    bool flag = false;
    if (!model["byte_fallback"].get(flag) && flag) fail("BPE with byte_fallback is not supported");
    double dropout = 0;
    if (!model["dropout"].get(dropout) && dropout > 0) fail("BPE with dropout is not supported");
    if (!model["ignore_merges"].get(flag)) ignore_merges = flag;
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const auto found = vocabulary.find(alphabet[byte]);
      byte_ids[byte] = found == vocabulary.end() ? -1 : found->second;
    }
    simdjson::dom::array list;
    if (model["merges"].get(list)) fail("the BPE model has no merges");
    for (const auto item : list) {
      std::string_view left, right;
      simdjson::dom::array pair;
      if (!item.get(pair)) {
        if (pair.size() != 2 || pair.at(0).get(left) || pair.at(1).get(right)) fail("a merge is not a pair of texts");
      } else if (!item.get(text)) {  // the older form: both in one text
        const auto space = text.find(' ');
        if (space == std::string_view::npos) fail(fmt::format("merge '{}' is not a pair", text));
        left = text.substr(0, space);
        right = text.substr(space + 1);
      }
      const auto a = vocabulary.find(left), b = vocabulary.find(right);
      const auto merged = vocabulary.find(std::string(left) + std::string(right));
      if (a == vocabulary.end() || b == vocabulary.end() || merged == vocabulary.end())
        fail(fmt::format("merge '{}' + '{}' is not in the vocab", left, right));
      merges.add(a->second, b->second, merged->second);
    }
  }

  void read_added(simdjson::dom::element list) {
    simdjson::dom::array items;
    if (list.get(items)) return;
    for (const auto item : items) {
      AddedToken token;
      std::string_view text;
      bool single = false;
      if (item["content"].get(text) || item["id"].get(token.id) || text.empty())
        fail("an added token has no content or id");
      token.text = text;
      if (!item["single_word"].get(single) && single)
        fail(fmt::format("added token '{}' is single_word, which is not supported", text));
      const auto flag = [&](const char* name) {
        bool value = false;
        return !item[name].get(value) && value;
      };
      token.special = flag("special");
      token.normalized = flag("normalized");
      token.left_strip = flag("lstrip");
      token.right_strip = flag("rstrip");
      put(text, token.id);
      special[static_cast<std::size_t>(token.id)] = token.special;
      added[static_cast<std::size_t>(token.id)] = true;
      added_starts[static_cast<unsigned char>(text[0])] = true;
      added_tokens.push_back(std::move(token));
    }
    std::stable_sort(added_tokens.begin(), added_tokens.end(),
                     [](const AddedToken& a, const AddedToken& b) { return a.text.size() > b.text.size(); });
  }

  std::string normalise(std::string text) const {
    for (const Normalizer& normalizer : normalizers) {
      if (normalizer.type == Normalizer::Type::compose) text = compose(text);
      if (normalizer.type == Normalizer::Type::lower) text = lower(text);
      if (normalizer.type == Normalizer::Type::replace) {
        std::string out;
        std::size_t at = 0;
        for (std::size_t hit; (hit = text.find(normalizer.from, at)) != std::string::npos; at = hit + normalizer.from.size())
          out.append(text, at, hit - at) += normalizer.to;
        text = std::move(out.append(text, at, std::string::npos));
      }
    }
    return text;
  }

  // Calls plain(text) for what lies between added tokens and token(id) for them, in order.
  template <class Plain, class Token>
  void cut(std::string_view text, bool normalized, Plain plain, Token token) const {
    std::size_t begin = 0;
    for (std::size_t i = 0; i < text.size();) {
      const AddedToken* hit = nullptr;
      if (added_starts[static_cast<unsigned char>(text[i])])
        for (const AddedToken& candidate : added_tokens)
          if (candidate.normalized == normalized && text.substr(i).starts_with(candidate.text)) {
            hit = &candidate;
            break;
          }
      if (!hit) {
        ++i;
        continue;
      }
      std::size_t end = i + hit->text.size();
      constexpr std::string_view kSpace = " \t\n\r\f\v";
      if (hit->left_strip)
        while (i > begin && kSpace.find(text[i - 1]) != std::string_view::npos) --i;
      if (hit->right_strip)
        while (end < text.size() && kSpace.find(text[end]) != std::string_view::npos) ++end;
      if (i > begin) plain(text.substr(begin, i - begin));
      token(hit->id);
      begin = i = end;
    }
    if (begin < text.size()) plain(text.substr(begin));
  }

  void encode_piece(std::string_view piece, std::vector<std::int64_t>& ids) const {
    if (word_level) {
      const auto found = vocabulary.find(piece);
      ids.push_back(found == vocabulary.end() ? *unknown : found->second);
      return;
    }
    if (ignore_merges) {
      std::string written;
      for (const char c : piece) written += alphabet[static_cast<unsigned char>(c)];
      if (const auto found = vocabulary.find(written); found != vocabulary.end()) {
        ids.push_back(found->second);
        return;
      }
    }
    std::vector<std::int32_t> symbols;
    for (const char c : piece) {
      const std::int32_t id = byte_ids[static_cast<unsigned char>(c)];
      if (id >= 0)
        symbols.push_back(id);
      else if (unknown)
        symbols.push_back(*unknown);
    }
    merges.apply(symbols);
    ids.insert(ids.end(), symbols.begin(), symbols.end());
  }

  void encode_plain(std::string_view text, std::size_t level, std::vector<std::int64_t>& ids) const {
    if (level == splits.size()) return encode_piece(text, ids);
    splits[level]->split(text, between, [&](std::string_view piece) { encode_plain(piece, level + 1, ids); });
  }
};

Tokenizer::Tokenizer(const std::filesystem::path& tokenizer_json) : impl_(std::make_unique<Impl>()) {
  Impl& self = *impl_;
  self.file = tokenizer_json.string();
  const std::string text = read_text_file(tokenizer_json);
  simdjson::dom::parser parser;
  simdjson::dom::element root, part;
  if (parser.parse(text).get(root) || !root.is_object()) self.fail("is not a JSON object");
  try {
    if (!root["normalizer"].get(part)) self.read_normalizer(part);
    if (!root["pre_tokenizer"].get(part)) self.read_pre_tokenizer(part);
    if (root["model"].get(part)) self.fail("has no model");
    self.read_model(part);
    if (!root["added_tokens"].get(part)) self.read_added(part);
    if (!root["decoder"].get(part) && !part.is_null()) {
      std::string_view type;
      if (part["type"].get(type) || type != "ByteLevel") self.fail("its decoder is not supported (ByteLevel or none)");
      self.byte_decoder = true;
    }
  } catch (const simdjson::simdjson_error& error) {
    self.fail(error.what());
  }
  for (std::size_t byte = 0; byte < 256; ++byte)
    self.byte_of.emplace(self.alphabet[byte], static_cast<unsigned char>(byte));
}

Tokenizer::~Tokenizer() = default;

std::vector<std::int64_t> Tokenizer::encode(std::string_view text) const {
  const Impl& self = *impl_;
  std::string repaired;
  if (!is_ascii(text)) text = repaired = valid_utf8(text);
  std::vector<std::int64_t> ids;
  const auto take = [&](std::int64_t id) { ids.push_back(id); };
  self.cut(
      text, false,
      [&](std::string_view raw) {
        const std::string normal = self.normalise(std::string(raw));
        self.cut(
            normal, true, [&](std::string_view plain) { self.encode_plain(plain, 0, ids); }, take);
      },
      take);
  return ids;
}

std::string Tokenizer::decode(std::span<const std::int64_t> ids, bool skip_special) const {
  const Impl& self = *impl_;
  std::string out;
  bool first = true;
  for (const std::int64_t id : ids) {
    if (id < 0 || static_cast<std::size_t>(id) >= self.pieces.size()) continue;
    const auto at = static_cast<std::size_t>(id);
    if (skip_special && self.special[at]) continue;
    const std::string& piece = self.pieces[at];
    if (!self.byte_decoder) {
      if (!first) out += ' ';
      out += piece;
    } else if (self.added[at]) {
      out += piece;
    } else {
      for (std::size_t i = 0; i < piece.size();) {
        const std::size_t length = static_cast<unsigned char>(piece[i]) < 0x80 ? 1 : 2;
        const auto found = self.byte_of.find(std::string_view(piece).substr(i, length));
        if (found != self.byte_of.end()) out += static_cast<char>(found->second);
        i += length;
      }
    }
    first = false;
  }
  return valid_utf8(out);
}

std::optional<std::int64_t> Tokenizer::id(std::string_view token) const {
  for (const AddedToken& candidate : impl_->added_tokens)
    if (candidate.text == token) return candidate.id;
  const auto found = impl_->vocabulary.find(token);
  if (found == impl_->vocabulary.end()) return std::nullopt;
  return found->second;
}

std::int64_t Tokenizer::size() const { return static_cast<std::int64_t>(impl_->pieces.size()); }

}  // namespace dt2it::nn
