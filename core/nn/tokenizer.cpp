// SPDX-License-Identifier: Apache-2.0
#include "core/nn/tokenizer.hpp"

#include <array>
#include <atomic>
#include <cstring>
#include <utility>

#include "core/nn/tokenizer_file.hpp"
#include "core/nn/unicode_classes.hpp"
#include "core/nn/word_cache.hpp"

namespace dt2it::nn {
namespace {

std::uint32_t next_number() {
  static std::atomic<std::uint32_t> last{0};
  return ++last;
}

// Added tokens of one kind (looked for before or after normalizing), by their first byte.
class AddedTokens {
 public:
  void add(const AddedToken& token) {
    by_first_[static_cast<unsigned char>(token.text[0])].push_back(token);
  }
  // To be called after the last add().
  void close() {
    for (std::size_t byte = 0; byte < 256; ++byte)
      if (!by_first_[byte].empty()) {
        ++firsts_;
        first_ = static_cast<int>(byte);
      }
  }

  // Calls plain(text) for what lies between added tokens and token(id) for them, in order.
  template <class Plain, class Token>
  void cut(std::string_view text, Plain&& plain, Token&& token) const {
    std::size_t begin = 0;
    for (std::size_t at = 0; (at = candidate(text, at)) < text.size();) {
      const AddedToken* hit = longest(text.substr(at));
      if (!hit) {
        ++at;
        continue;
      }
      std::size_t end = at + hit->text.size();
      if (hit->left_strip) at = begin + without_trailing_space(text.substr(begin, at - begin));
      if (hit->right_strip) end += leading_space(text.substr(end));
      if (at > begin) plain(text.substr(begin, at - begin));
      token(hit->id);
      begin = at = end;
    }
    if (begin < text.size()) plain(text.substr(begin));
  }

 private:
  // The next place where one could begin, or the end.
  std::size_t candidate(std::string_view text, std::size_t at) const {
    if (firsts_ == 0) return text.size();
    if (firsts_ == 1) {
      const void* found =
          at < text.size() ? std::memchr(text.data() + at, first_, text.size() - at) : nullptr;
      return found ? static_cast<std::size_t>(static_cast<const char*>(found) - text.data())
                   : text.size();
    }
    while (at < text.size() && by_first_[static_cast<unsigned char>(text[at])].empty()) ++at;
    return at;
  }
  const AddedToken* longest(std::string_view text) const {
    for (const AddedToken& token : by_first_[static_cast<unsigned char>(text[0])])
      if (text.starts_with(token.text)) return &token;
    return nullptr;
  }
  static std::size_t leading_space(std::string_view text) {
    const char* at = text.data();
    for (const char* next = at;
         at < text.data() + text.size() && unicode_classes()[next_code(next)] & kSpaceClass;)
      at = next;
    return static_cast<std::size_t>(at - text.data());
  }
  static std::size_t without_trailing_space(std::string_view text) {
    std::size_t kept = text.size();
    while (kept > 0) {
      std::size_t last = kept - 1;
      while (last > 0 && (static_cast<unsigned char>(text[last]) & 0xc0) == 0x80) --last;
      const char* at = text.data() + last;
      if (!(unicode_classes()[next_code(at)] & kSpaceClass)) break;
      kept = last;
    }
    return kept;
  }

  std::array<std::vector<AddedToken>, 256> by_first_;  // longest first
  int firsts_ = 0, first_ = 0;  // how many first bytes there are; the last of them
};

}  // namespace

struct Tokenizer::Impl : TokenizerFile {
  const std::uint32_t number = next_number();  // in the word caches
  AddedTokens raw, normalized;

  // What one call of encode needs.
  struct Call {
    std::vector<std::int64_t> ids;
    std::vector<std::int32_t> symbols;
    WordCache& cache = WordCache::of_this_thread();
    const char* readable = nullptr;  // the end of the text that words lie in
  };

  explicit Impl(TokenizerFile file) : TokenizerFile(std::move(file)) {
    for (const AddedToken& token : added_tokens) (token.normalized ? normalized : raw).add(token);
    raw.close();
    normalized.close();
  }

  void merge_word(std::string_view word, std::vector<std::int32_t>& symbols) const {
    symbols.clear();
    if (ignore_merges) {
      std::string written;
      for (const char c : word) written += alphabet[static_cast<unsigned char>(c)];
      if (const auto found = vocabulary.find(written)) return symbols.push_back(*found);
    }
    for (const char c : word) {
      const std::int32_t id = byte_ids[static_cast<unsigned char>(c)];
      if (id >= 0)
        symbols.push_back(id);
      else if (unknown)
        symbols.push_back(*unknown);
    }
    merges.apply(symbols);
  }

  void encode_word(std::string_view word, Call& call) const {
    if (word_level) return call.ids.push_back(vocabulary.find(word).value_or(*unknown));
    if (word.size() > WordCache::kLongestWord) {
      merge_word(word, call.symbols);
      call.ids.insert(call.ids.end(), call.symbols.begin(), call.symbols.end());
      return;
    }
    const auto key = WordCache::key(word, call.readable);
    if (const auto found = call.cache.find(key, number); !found.empty()) {
      for (const std::int32_t id : found) call.ids.push_back(id);
      return;
    }
    merge_word(word, call.symbols);
    call.ids.insert(call.ids.end(), call.symbols.begin(), call.symbols.end());
    call.cache.put(key, number, call.symbols);
  }

  void encode_plain(std::string_view text, std::size_t level, Call& call) const {
    if (level + 1 == splitters.size())
      return splitters[level].split(text, [&](std::string_view word) { encode_word(word, call); });
    if (level == splitters.size()) return encode_word(text, call);
    splitters[level].split(text,
                           [&](std::string_view piece) { encode_plain(piece, level + 1, call); });
  }
};

Tokenizer::Tokenizer(const std::filesystem::path& tokenizer_json)
    : impl_(std::make_unique<Impl>(read_tokenizer_file(tokenizer_json))) {}

Tokenizer::~Tokenizer() = default;

std::vector<std::int64_t> Tokenizer::encode(std::string_view text) const {
  const Impl& self = *impl_;
  std::string repaired;
  if (!is_utf8(text)) text = repaired = repaired_utf8(text);
  Impl::Call call;
  call.ids.reserve(text.size() / 4 + 8);
  std::array<std::string, 2> buffers;
  const auto token = [&](std::int64_t id) { call.ids.push_back(id); };
  self.raw.cut(
      text,
      [&](std::string_view raw) {
        const std::string_view normal = self.normalise(raw, buffers);
        call.readable = normal.data() + normal.size();
        self.normalized.cut(
            normal, [&](std::string_view plain) { self.encode_plain(plain, 0, call); }, token);
      },
      token);
  return std::move(call.ids);
}

std::string Tokenizer::decode(std::span<const std::int64_t> ids, bool skip_special) const {
  const Impl& self = *impl_;
  std::string out;
  bool first = true;
  for (const std::int64_t id : ids) {
    if (id < 0 || static_cast<std::size_t>(id) >= self.pieces.size()) continue;
    const DecodedPiece& piece = self.pieces[static_cast<std::size_t>(id)];
    if (!piece.known || (skip_special && piece.special)) continue;
    if (!self.byte_decoder && !first) out += ' ';
    out.append(self.decoded, piece.offset, piece.length);
    first = false;
  }
  if (!is_utf8(out)) out = repaired_utf8(out);
  return out;
}

std::optional<std::int64_t> Tokenizer::id(std::string_view token) const {
  auto found = impl_->added_ids.find(token);
  if (!found) found = impl_->vocabulary.find(token);
  if (!found) return std::nullopt;
  return *found;
}

std::int64_t Tokenizer::size() const { return static_cast<std::int64_t>(impl_->pieces.size()); }

}  // namespace dt2it::nn
