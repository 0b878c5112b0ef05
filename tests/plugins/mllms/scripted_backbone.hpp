// SPDX-License-Identifier: Apache-2.0
#pragma once

// A backbone without a model: its tokens are bytes, and a function says what comes next. Counts what is asked of it, and
// fails when two threads use it at once.

#include <ATen/ops/empty.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dt2it/backbone.hpp"
#include "dt2it/error.hpp"
#include "dt2it/rng.hpp"

namespace dt2it::testing {

class ScriptedBackbone final : public Backbone {
 public:
  static constexpr std::int64_t kEnd = 256, kVocabulary = 257;
  // The next token for a prompt and the answer so far.
  using Script = std::function<std::int64_t(const std::string& prompt, const std::string& answer)>;

  explicit ScriptedBackbone(Script script) : script_(std::move(script)) {}

  // Says the prompt again.
  static std::int64_t echo(const std::string& prompt, const std::string& answer) {
    return answer.size() < prompt.size() ? static_cast<unsigned char>(prompt[answer.size()]) : kEnd;
  }

  std::atomic<int> encodes = 0, decodes = 0, joins = 0, prefills = 0, steps = 0, live = 0,
                   most_live = 0;
  bool cut = false;               // what encode() says of every prompt
  bool random = false;            // logits of many tokens, from what came before
  std::atomic<int> fail_at = -1;  // the step that throws

  EncodedTree encode(const Prompt& prompt, std::span<const std::string_view>) override {
    ++encodes;
    EncodedTree encoded;
    std::string text;
    for (const Message& message : prompt.messages)
      for (const Part& part : message.content) {
        if (part.kind != Part::Kind::text) {
          encoded.status = Status::missing_media;
          encoded.detail = "no picture " + part.media.source;
          return encoded;
        }
        text += part.text;
      }
    if (text == "explode") throw std::runtime_error("encoding broke\nat a place\nof no interest");
    encoded.tree.tokens = tokenize(text);
    encoded.tree.prefix = encoded.tree.tokens.size();
    encoded.status = Status::ok;
    encoded.cut = cut;
    return encoded;
  }
  std::unique_ptr<Decoding> decode(std::span<const TokenTree* const> prompts,
                                   std::span<const std::size_t> samples) override {
    ++decodes;
    return std::make_unique<Sequences>(*this, prompts, samples);
  }
  std::vector<std::int64_t> tokenize(std::string_view text) const override {
    std::vector<std::int64_t> ids;
    for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
    return ids;
  }
  // Bytes outside characters are U+FFFD each; the end token is special.
  std::string detokenize(std::span<const std::int64_t> ids) const override {
    std::string bytes, text;
    for (const std::int64_t id : ids)
      if (id < 256) bytes += static_cast<char>(id);
    for (std::size_t i = 0; i < bytes.size();) {
      const auto first = static_cast<unsigned char>(bytes[i]);
      const std::size_t length = first < 0x80   ? 1
                                 : first < 0xc2 ? 0
                                 : first < 0xe0 ? 2
                                 : first < 0xf0 ? 3
                                 : first < 0xf5 ? 4
                                                : 0;
      bool valid = length > 0 && i + length <= bytes.size();
      for (std::size_t k = 1; valid && k < length; ++k)
        valid = (static_cast<unsigned char>(bytes[i + k]) & 0xc0) == 0x80;
      text += valid ? bytes.substr(i, length) : "\xef\xbf\xbd";
      i += valid ? length : 1;
    }
    return text;
  }
  std::vector<std::int64_t> end_tokens() const override { return {kEnd}; }
  const std::filesystem::path& checkpoint() const override { return checkpoint_; }

  // Of no use to an MLLM.
  at::Tensor forward(std::span<const TokenTree* const>, HiddenState,
                     std::span<const std::int64_t>) override {
    return {};
  }
  at::Tensor logits(const at::Tensor&) override { return {}; }
  std::vector<NamedParameter> parameters() override { return {}; }
  std::int64_t hidden_size() const override { return 1; }
  void reload() override {}
  void save(const std::filesystem::path&) override {}

 private:
  class Sequences final : public Decoding {
   public:
    Sequences(ScriptedBackbone& own, std::span<const TokenTree* const> prompts,
              std::span<const std::size_t> samples)
        : own_(own) {
      add(prompts, samples);
    }
    ~Sequences() override { own_.live = 0; }
    const at::Tensor& logits() const override { return logits_; }
    void advance(std::span<const std::int64_t> tokens) override {
      const Alone alone(own_);
      if (own_.steps++ == own_.fail_at)
        throw std::runtime_error("no memory left\nwith a long stack trace");
      if (tokens.size() != rows_.size()) throw ModelError("each live sequence needs one token");
      for (std::size_t i = 0; i < tokens.size(); ++i)
        rows_[i].answer += static_cast<char>(tokens[i]);
      fill();
    }
    void keep(std::span<const std::size_t> rows) override {
      const Alone alone(own_);
      std::vector<Row> kept;
      for (const std::size_t row : rows) kept.push_back(rows_.at(row));
      rows_ = std::move(kept);
      fill();
    }
    void join(std::span<const TokenTree* const> prompts,
              std::span<const std::size_t> samples) override {
      ++own_.joins;
      add(prompts, samples);
    }

   private:
    struct Row {
      std::string prompt, answer;
    };
    struct Alone {
      explicit Alone(ScriptedBackbone& own) : busy(own.busy_) {
        if (busy.exchange(true)) throw ModelError("two threads use the backbone at once");
      }
      ~Alone() { busy = false; }
      std::atomic<bool>& busy;
    };
    void add(std::span<const TokenTree* const> prompts, std::span<const std::size_t> samples) {
      const Alone alone(own_);
      for (std::size_t i = 0; i < prompts.size(); ++i) {
        ++own_.prefills;
        std::string prompt;
        for (const std::int64_t id : prompts[i]->tokens) prompt += static_cast<char>(id);
        for (std::size_t k = 0; k < samples[i]; ++k) rows_.push_back({prompt, {}});
      }
      fill();
    }
    void fill() {
      own_.live = static_cast<int>(rows_.size());
      own_.most_live = std::max(own_.most_live.load(), own_.live.load());
      logits_ = at::empty({static_cast<std::int64_t>(rows_.size()), kVocabulary}, at::kFloat);
      float* out = logits_.data_ptr<float>();
      for (const Row& row : rows_) {
        Rng rng(stable_hash(row.prompt + "/" + row.answer));
        for (std::int64_t k = 0; k < kVocabulary; ++k)
          *out++ =
              own_.random ? (k >= 'a' && k <= 'z' ? static_cast<float>(rng.normal()) : -50.f) : 0.f;
        if (!own_.random) out[own_.script_(row.prompt, row.answer) - kVocabulary] = 100;
      }
    }
    ScriptedBackbone& own_;
    std::vector<Row> rows_;
    at::Tensor logits_;
  };

  const Script script_;
  const std::filesystem::path checkpoint_ = "models/scripted/";
  std::atomic<bool> busy_ = false;
};

}  // namespace dt2it::testing
