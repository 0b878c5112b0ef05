// SPDX-License-Identifier: Apache-2.0
#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <future>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "dt2it/error.hpp"
#include "dt2it/plugin.hpp"
#include "dt2it/response_key.hpp"
#include "dt2it/reward_model.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;

// Some lines of a file of votes.
class VoteLines {
 public:
  // `lines` may be read beyond its end by simdjson's padding. `models`: of the first line of the file; empty where this is it.
  // Keeps what is wrong for fail().
  VoteLines(std::string_view lines, const std::vector<std::string>& models) : models_(models) {
    try {
      read(lines);
    } catch (const simdjson::simdjson_error& error) {
      problem_ = std::string("is no line of votes (") + error.what() + ")";
    } catch (const DataError& error) {
      problem_ = error.what();
    }
  }

  // Throws DataError if something was wrong, with which they then end; `before`: lines of the file before these.
  void check(const fs::path& file, std::size_t before) const {
    if (!problem_.empty())
      throw DataError(file.string() + ":" + std::to_string(before + count_) + ": " + problem_);
  }
  std::size_t count() const { return count_; }
  const std::vector<std::string>& models() const { return models_; }
  // Response after response, two of each line; and their rewards, model after model.
  const std::vector<ResponseKey>& keys() const { return keys_; }
  const std::vector<double>& rewards() const { return rewards_; }

 private:
  void read(std::string_view text) {
    simdjson::ondemand::parser parser;
    std::vector<double> sides[2];
    while (!text.empty()) {
      ++count_;
      const std::string_view line = text.substr(0, text.find('\n'));
      text.remove_prefix(std::min(line.size() + 1, text.size()));
      if (line.find_first_not_of(" \t\r") == line.npos) continue;
      simdjson::ondemand::document document =
          parser.iterate(line.data(), line.size(), line.size() + simdjson::SIMDJSON_PADDING);
      simdjson::ondemand::object object = document.get_object();
      std::size_t k = 0;
      for (auto key : object["keys"].get_array()) {
        if (k++ == 2) throw DataError("has more than two keys");
        keys_.push_back(key_of(key.get_string()));
      }
      for (std::vector<double>& side : sides) side.clear();
      const bool first = models_.empty();
      std::size_t m = 0;
      for (auto field : object["rewards"].get_object()) {
        const std::string_view name = field.unescaped_key();
        if (first) models_.emplace_back(name);
        if (m >= models_.size() || models_[m] != name)
          throw DataError("has rewards of other models than the first line");
        ++m;
        std::size_t side = 0;
        for (auto reward : field.value().get_array()) {
          if (side == 2) throw DataError("has more than two rewards of a model");
          sides[side++].push_back(reward.is_null() ? std::numeric_limits<double>::quiet_NaN()
                                                   : double(reward.get_double()));
        }
        if (side != 2) throw DataError("has fewer than two rewards of a model");
      }
      if (k != 2 || m == 0 || m != models_.size()) throw DataError("lacks keys or rewards");
      for (const std::vector<double>& side : sides)
        rewards_.insert(rewards_.end(), side.begin(), side.end());
    }
  }

  static ResponseKey key_of(std::string_view text) {
    ResponseKey key{};
    for (const std::size_t half : {0, 1}) {
      const char* begin = text.data() + 16 * half;
      if (text.size() != 32 || std::from_chars(begin, begin + 16, key[half], 16).ptr != begin + 16)
        throw DataError("has a key that is not 32 hex digits");
    }
    return key;
  }

  std::vector<std::string> models_;
  std::vector<ResponseKey> keys_;
  std::vector<double> rewards_;
  std::size_t count_ = 0;
  std::string problem_;
};

// The votes of a file by content. 48 to 96 bytes a response, and 8 for each model. Thread-safe once it is made.
class VoteTable {
 public:
  explicit VoteTable(const fs::path& file) {
    simdjson::padded_string text;
    if (simdjson::padded_string::load(file.string()).get(text))
      throw DataError(file.string() + ": cannot be read");
    const std::string_view all(text.data(), text.size());
    const std::size_t first_begin = std::min(all.find_first_not_of(" \t\r\n"), all.size());
    const VoteLines first(all.substr(0, all.find('\n', first_begin)), {});
    first.check(file, 0);
    models_ = first.models();
    const std::vector<VoteLines> parts = read_parts(all);
    std::size_t lines = 0;
    for (const VoteLines& part : parts) {
      part.check(file, lines);
      lines += part.count();
    }
    // Half full at most.
    std::size_t size = 16;
    while (size < 4 * lines) size *= 2;
    slots_.assign(size, {{0, 0}, kEmpty});
    rewards_.reserve(2 * lines * models_.size());
    for (const VoteLines& part : parts) add(part);
  }

  const std::vector<std::string>& models() const { return models_; }

  // Where the rewards of each response are, request after request; kEmpty: not in the file.
  struct Found {
    std::span<const RewardRequest> requests;
    std::vector<std::size_t> places;
  };
  static constexpr std::size_t kEmpty = static_cast<std::size_t>(-1);

  // Several models of one file are asked the same: what is still held by one is given to the next.
  // Requests must stay where they are as long as it is held.
  std::shared_ptr<const Found> find(std::span<const RewardRequest> requests) const {
    const std::lock_guard lock(mutex_);
    std::shared_ptr<const Found> found = last_.lock();
    if (!found || found->requests.data() != requests.data() ||
        found->requests.size() != requests.size())
      last_ = found = std::make_shared<const Found>(look_up(requests));
    return found;
  }

  // NaN: the model had none.
  double reward(std::size_t place, std::size_t model) const {
    return rewards_[place * models_.size() + model];
  }

  // Components that name the same file share it while one of them lives.
  static std::shared_ptr<const VoteTable> open(const fs::path& file) {
    static std::mutex mutex;
    static std::map<fs::path, std::weak_ptr<const VoteTable>> tables;
    const std::lock_guard lock(mutex);
    std::weak_ptr<const VoteTable>& known = tables[fs::absolute(file)];
    std::shared_ptr<const VoteTable> table = known.lock();
    if (!table) known = table = std::make_shared<const VoteTable>(file);
    return table;
  }

 private:
  struct Entry {
    ResponseKey key;
    std::size_t place;
  };

  // The table is far larger than any cache: the next places are on their way while one is looked
  // at.
  Found look_up(std::span<const RewardRequest> requests) const {
    std::vector<ResponseKey> keys;
    keys.reserve(2 * requests.size());
    for (const RewardRequest& request : requests) {
      const ResponseKey prompt = prompt_key(prompt_text_for_key(*request.prompt));
      for (const Response& response : request.responses) {
        keys.push_back(response_key(prompt, response.text));
        __builtin_prefetch(&slots_[home_of(keys.back())]);
      }
    }
    Found found{requests, {}};
    found.places.reserve(keys.size());
    for (const ResponseKey& key : keys) {
      const std::size_t place = found.places.emplace_back(slots_[slot_of(key)].place);
      if (place != kEmpty) __builtin_prefetch(&rewards_[place * models_.size()]);
    }
    return found;
  }

  // Several threads' work.
  std::vector<VoteLines> read_parts(std::string_view all) const {
    constexpr std::size_t kLeast = 1 << 20;
    const std::size_t count = std::clamp<std::size_t>(
        std::min<std::size_t>(std::thread::hardware_concurrency(), all.size() / kLeast), 1, 8);
    std::vector<std::future<VoteLines>> parts;
    for (std::size_t begin = 0; begin < all.size();) {
      const std::size_t about = std::max(begin, all.size() / count * (parts.size() + 1));
      const std::size_t line = parts.size() + 1 < count ? all.find('\n', about) : all.npos;
      const std::size_t end = line == all.npos ? all.size() : line + 1;
      parts.push_back(std::async(
          std::launch::async,
          [this, lines = all.substr(begin, end - begin)] { return VoteLines(lines, models_); }));
      begin = end;
    }
    std::vector<VoteLines> made;
    for (std::future<VoteLines>& part : parts) made.push_back(part.get());
    return made;
  }

  // Of several responses with the same key, the first counts.
  void add(const VoteLines& lines) {
    constexpr std::size_t kAhead =
        16;  // places are on their way meanwhile: the table is far larger than any cache
    const std::vector<ResponseKey>& keys = lines.keys();
    const std::size_t before = rewards_.size() / models_.size();
    for (std::size_t i = 0; i < keys.size(); ++i) {
      if (i + kAhead < keys.size()) __builtin_prefetch(&slots_[home_of(keys[i + kAhead])]);
      Entry& slot = slots_[slot_of(keys[i])];
      if (slot.place == kEmpty) slot = {keys[i], before + i};
    }
    rewards_.insert(rewards_.end(), lines.rewards().begin(), lines.rewards().end());
  }

  std::size_t home_of(const ResponseKey& key) const { return key[0] & (slots_.size() - 1); }
  // Where a key is, or would be.
  std::size_t slot_of(const ResponseKey& key) const {
    std::size_t at = home_of(key);
    while (slots_[at].place != kEmpty && slots_[at].key != key) at = (at + 1) & (slots_.size() - 1);
    return at;
  }

  std::vector<std::string> models_;
  std::vector<Entry> slots_;  // open addressing
  std::vector<double> rewards_;
  mutable std::mutex mutex_;
  mutable std::weak_ptr<const Found> last_;
};

// Rewards that the stage `vote` computed, looked up by what prompt and answer are.
class StoredRewardModel final : public RewardModel {
 public:
  struct Params {
    fs::path rewards;
    std::string model;
    static void describe(Schema<Params>& schema) {
      schema
          .field("rewards", &Params::rewards,
                 "votes.jsonl of a stage `vote`, or \"stage:NAME\" of such a stage.")
          .required()
          .argument();
      schema.field("model", &Params::model,
                   "Whose rewards; may be left out where the file has one model's only.");
    }
  };

  StoredRewardModel(const Params& params, Context&) : table_(VoteTable::open(params.rewards)) {
    const std::vector<std::string>& models = table_->models();
    std::string names;
    for (const std::string& name : models) names += (names.empty() ? "" : ", ") + name;
    if (params.model.empty() && models.size() > 1)
      throw ConfigError("model: whose rewards? (there are: " + names + ")");
    if (params.model.empty() || models.empty()) return;
    const auto at = std::find(models.begin(), models.end(), params.model);
    if (at == models.end())
      throw ConfigError(params.rewards.string() + ": has no rewards of '" + params.model +
                        "' (there are: " + names + ")");
    model_ = static_cast<std::size_t>(at - models.begin());
  }

  void prepare(std::span<const RewardRequest> requests) override {
    found_.reset();
    if (!requests.empty()) found_ = table_->find(requests);
  }

  std::vector<std::vector<Reward>> rewards(std::span<const RewardRequest> requests) override {
    if (!found_ || found_->requests.data() != requests.data() ||
        found_->requests.size() != requests.size())
      prepare(requests);
    std::vector<std::vector<Reward>> all;
    all.reserve(requests.size());
    std::size_t next = 0;
    for (const RewardRequest& request : requests) {
      std::vector<Reward>& row = all.emplace_back();
      row.reserve(request.responses.size());
      for (std::size_t i = 0; i < request.responses.size(); ++i) {
        const std::size_t place = found_->places[next++];
        if (place == VoteTable::kEmpty) {
          row.push_back({Status::invalid, std::numeric_limits<double>::quiet_NaN(),
                         "this answer is not among the stored ones"});
          continue;
        }
        const double reward = table_->reward(place, model_);
        if (std::isnan(reward))
          row.push_back({Status::invalid, reward, "the model had no reward for it"});
        else
          row.push_back({Status::ok, reward, {}});
      }
    }
    found_.reset();
    return all;
  }
  std::size_t batch_size() const override { return 512; }

 private:
  const std::shared_ptr<const VoteTable> table_;
  std::shared_ptr<const VoteTable::Found> found_;  // for what was announced
  std::size_t model_ = 0;
};

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("reward_models/stored", "1.0.0", registrar) {
  registrar.add<dt2it::RewardModel, dt2it::StoredRewardModel>(
      "stored", "Rewards from a stage `vote`, by content.");
}
