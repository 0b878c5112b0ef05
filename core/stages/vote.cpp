// SPDX-License-Identifier: Apache-2.0
// The rewards of several models for pairs, in one pass over the data (paper section 3.3, first step): curators look them up by
// `reward_models/stored`. Taken up after a kill, and done in parts by several processes where there are many.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "core/data/records.hpp"
#include "core/run/layout.hpp"
#include "core/stages/funnel.hpp"
#include "core/stages/gate.hpp"
#include "core/stages/pair_files.hpp"
#include "core/stages/stages.hpp"
#include "core/util/file_lock.hpp"
#include "core/util/journal.hpp"
#include "core/util/json.hpp"
#include "core/util/jsonl.hpp"
#include "core/util/progress.hpp"
#include "dt2it/error.hpp"
#include "dt2it/pair_rewards.hpp"
#include "dt2it/response_key.hpp"
#include "dt2it/reward_model.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;

// Models see the same pairs together whatever was there before a kill and however many processes share the work, so that the
// rewards are the same to the last bit.
constexpr std::size_t kGroup = 256;

struct VoteParams {
  std::vector<std::string> pairs;
  std::vector<std::string> reward_models;

  static void describe(Schema<VoteParams>& schema) {
    schema
        .component<StageInputs>("pairs", &VoteParams::pairs,
                                "Stages whose pairs are given rewards.")
        .required();
    schema.component<RewardModel>("reward_models", &VoteParams::reward_models, "The models.")
        .required();
  }
};

std::string hex(const ResponseKey& key) { return fmt::format("{:016x}{:016x}", key[0], key[1]); }

std::string line_of(std::size_t row, const PreferencePair& pair,
                    const std::vector<std::string>& models,
                    const std::vector<std::vector<PairRewards>>& rewards, std::size_t place) {
  JsonWriter json;
  json.begin_object();
  json.key("id").value(pair.id).key("row").value(row).key("source").value(pair.source);
  json.key("keys").begin_array();
  json.value(hex(response_key(pair.prompt, pair.chosen)));
  json.value(
      hex(response_key(pair.rejected_prompt ? *pair.rejected_prompt : pair.prompt, pair.rejected)));
  json.end_array();
  json.key("rewards").begin_object();
  std::vector<std::pair<std::string, const Reward*>> failures;
  for (std::size_t m = 0; m < models.size(); ++m) {
    const PairRewards& given = rewards[m][place];
    json.key(models[m]).begin_array();
    for (const Reward* reward : {&given.chosen, &given.rejected}) {
      if (reward->ok() && std::isfinite(reward->value)) {
        json.value(reward->value);
        continue;
      }
      json.null();
      if (failures.empty() || failures.back().first != models[m])
        failures.emplace_back(models[m], reward);
    }
    json.end_array();
  }
  json.end_object();
  if (!failures.empty()) {
    json.key("failures").begin_object();
    for (const auto& [model, reward] : failures)
      json.key(model).value(fmt::format("{}{}{}", to_string(reward->status),
                                        reward->detail.empty() ? "" : ": ", reward->detail));
    json.end_object();
  }
  return json.end_object().text();
}

class Voting {
 public:
  Voting(const VoteParams& params, StageRun& stage)
      : names_(params.reward_models), stage_(stage), files_(pair_files(stage, params.pairs)) {}

  void run() {
    own_lock_ = lock(stage_.shard);
    own_ = std::make_unique<Journal>(journal_file(stage_.shard));
    if (stage_.shard.count == 1) take_up_shards();
    stage_.progress->set_total(files_.count() / stage_.shard.count);
    vote();
    own_->sync();
    stage_.end_unanswered(unanswered_, files_.count(), "pairs");
    if (stage_.shard.count == 1) write();
  }

 private:
  fs::path journal_file(const Shard& shard) const {
    return stage_.work / fmt::format("votes.{}-of-{}.journal", shard.index, shard.count);
  }

  // Waits for whoever holds it.
  std::unique_ptr<FileLock> lock(const Shard& shard) const {
    std::string holder;
    const fs::path file = journal_file(shard).replace_extension(".lock");
    for (bool told = false;; told = true) {
      if (auto lock = FileLock::try_lock(file, holder)) return lock;
      if (!told)
        spdlog::warn("shard {} of {} is being worked on by {}; waiting for it", shard.text(),
                     stage_.config.name, holder);
      stage_.check_stop();
      std::this_thread::sleep_for(std::chrono::milliseconds(300));
    }
  }

  void take_up_shards() {
    std::set<fs::path> files;
    for (const auto& entry : fs::directory_iterator(stage_.work))
      if (entry.path().extension() == ".journal" && entry.path() != journal_file({}))
        files.insert(entry.path());
    for (const fs::path& file : files) {
      const std::string name = file.stem().string();  // votes.I-of-N
      const std::size_t dot = name.find('.'), of = name.find("-of-");
      if (dot == std::string::npos || of == std::string::npos) continue;
      locks_.push_back(
          lock(Shard::parse(name.substr(dot + 1, of - dot - 1) + "/" + name.substr(of + 4))));
      shards_.push_back(std::make_unique<Journal>(file));
    }
  }

  const Journal* journal_of(std::size_t row) const {
    for (const auto& shard : shards_)
      if (shard->contains(row)) return shard.get();
    return own_->contains(row) ? own_.get() : nullptr;
  }

  void vote() {
    std::vector<std::shared_ptr<RewardModel>> held;
    std::vector<RewardModel*> models;
    std::vector<PreferencePair> group;
    const auto stream = files_.open();
    for (std::size_t first = 0; first < files_.count(); first += kGroup) {
      const std::size_t size = std::min(kGroup, files_.count() - first);
      group.clear();
      bool there = true;
      for (std::size_t i = 0; i < size; ++i) {
        PreferencePair& pair = group.emplace_back();
        if (!stream->next(pair)) throw DataError("the pairs became fewer while they were read");
        there &= journal_of(first + i) != nullptr;
      }
      if (first / kGroup % stage_.shard.count != stage_.shard.index) continue;
      if (!there) {
        stage_.check_stop();
        if (models.empty())
          for (const std::string& name : names_) {
            held.push_back(stage_.context().component<RewardModel>(name));
            models.push_back(held.back().get());
          }
        for (PreferencePair& pair : group) strip(pair);
        const std::vector<std::vector<PairRewards>> rewards = pair_rewards(models, group, first);
        const std::size_t unanswered = unanswered_of(rewards);
        unanswered_ += unanswered;
        if (unanswered > 0 && !stage_.keep_unanswered) continue;  // the next run asks again
        for (std::size_t i = 0; i < size; ++i)
          own_->append(first + i, line_of(first + i, group[i], names_, rewards, i));
      }
      stage_.progress->add(size);
    }
  }

  // Pairs of a group for which some model was out of reach.
  static std::size_t unanswered_of(const std::vector<std::vector<PairRewards>>& rewards) {
    std::size_t count = 0;
    for (std::size_t i = 0; i < rewards.front().size(); ++i)
      count += std::any_of(rewards.begin(), rewards.end(), [&](const auto& model) {
        return model[i].chosen.status == Status::unavailable ||
               model[i].rejected.status == Status::unavailable;
      });
    return count;
  }

  // Truth may be there.
  static void strip(PreferencePair& pair) {
    pair.extra.clear();
    pair.prompt.extra.clear();
    if (pair.rejected_prompt) pair.rejected_prompt->extra.clear();
    pair.chosen.extra.clear();
    pair.rejected.extra.clear();
  }

  void write() {
    LineWriter out(stage_.output / layout::kVotes);
    std::size_t failed = 0;
    for (std::size_t row = 0; row < files_.count(); ++row) {
      const std::string line = journal_of(row)->read(row);
      failed += line.find(R"(,"failures":{)") != std::string::npos;
      out.write(line);
    }
    out.close();
    Funnel funnel;
    funnel.step("pairs", files_.count());
    funnel.step("pairs with all rewards", files_.count() - failed);
    funnel.drop("a reward is missing", failed);
    funnel.write(stage_.output);
  }

  const std::vector<std::string>& names_;
  StageRun& stage_;
  const PairFiles files_;
  std::size_t unanswered_ = 0;
  std::unique_ptr<FileLock> own_lock_;
  std::unique_ptr<Journal> own_;
  std::vector<std::unique_ptr<FileLock>> locks_;
  std::vector<std::unique_ptr<Journal>> shards_;
};

}  // namespace

StageType vote_stage() {
  StageType type = make_stage<VoteParams>(
      "vote",
      "Gives pairs the rewards of several models in one pass, for `reward_models/stored` to look "
      "up.",
      "1", [](const VoteParams& params, StageRun& stage) { Voting(params, stage).run(); });
  type.result = layout::kVotes;
  type.shardable = true;
  type.pass_by = pass_by_empty(layout::kVotes);
  return type;
}

}  // namespace dt2it
