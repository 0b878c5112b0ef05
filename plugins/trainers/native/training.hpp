// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/nn/optimizer.hpp"
#include "core/nn/process_group.hpp"
#include "core/nn/reward_head.hpp"
#include "dt2it/context.hpp"
#include "dt2it/trainer.hpp"
#include "plugins/trainers/native/description.hpp"
#include "plugins/trainers/native/feeder.hpp"
#include "plugins/trainers/native/losses.hpp"
#include "plugins/trainers/native/pair_order.hpp"
#include "plugins/trainers/native/snapshot.hpp"
#include "plugins/trainers/native/watch.hpp"

namespace dt2it::native {

// One run of the trainer, in each of its processes.
class Training {
 public:
  // Loads the pairs. Throws DataError when there are none.
  Training(const Params& params, Context& context, const TrainRequest& request,
           std::shared_ptr<Backbone> backbone, nn::ProcessGroup& group);
  // False: stopped on request, to be gone on with from request.state.
  bool run();

 private:
  // Pairs with what the reference says of them.
  struct Set {
    std::vector<PreferencePair> records;
    std::vector<std::array<float, 2>> reference;  // DPO: log-probabilities of chosen and rejected
  };
  // A pack's comparisons, in order. Losses take part in autograd, rewards do not.
  struct Computed {
    at::Tensor losses;            // next_token: sums over tokens
    at::Tensor chosen, rejected;  // rewards; next_token: undefined
    std::int64_t right = 0;       // next_token: tokens
  };
  // Sums over comparisons (next_token: over tokens, of loss and right), which add up over packs and processes.
  struct Sums {
    double count = 0, loss = 0, plain_loss = 0, right = 0, margin = 0, chosen = 0, rejected = 0;
    double pairs = 0, tokens = 0, left_out = 0, cut = 0, spread = 0;
    std::vector<double> source_pairs, source_right;
    void add_up(nn::ProcessGroup& group);
  };

  bool leads() const { return group_.rank() == 0; }
  HiddenState state() const;
  void read_pairs();
  void look_at_data();
  bool head_of_checkpoint() const;
  std::string head_input() const;
  nn::RewardHead initial_head() const;
  nn::RewardHead linear_head(std::uint64_t seed) const;
  nn::OptimizerConfig optimizer_config() const;

  Unit encode(const std::vector<PreferencePair>& records, std::span<const std::size_t> members,
              bool complain) const;
  Batch make_batch(std::int64_t step);
  double counted(const Unit& unit) const;
  Computed compute(const Set& set, std::span<const Unit* const> pack, const at::Tensor& drop);
  Targets targets(const Set& set, std::span<const Unit* const> pack) const;
  std::unordered_map<std::size_t, float> record_weights(const Batch& batch, double count) const;
  at::Tensor dropout_mask(std::span<const Unit* const> pack, std::int64_t step) const;
  void tally(const Set& set, std::span<const Unit* const> pack, const Computed& computed,
             Sums& sums) const;
  Sums step_on(const Batch& batch, std::int64_t step);
  HeldOutResult evaluate();
  void find_reference(Set& set, const std::string& name);

  TrainStep describe(const Sums& sums, std::int64_t step) const;
  void check_step(const TrainStep& step, const Sums& sums);
  void look_at_held_out(TrainStep& step);
  [[noreturn]] void fail(const std::string& why, std::int64_t step);
  void save_snapshot(std::int64_t step);
  void write_checkpoint(const std::filesystem::path& folder) const;
  void keep_checkpoint(std::int64_t step);
  std::filesystem::path best_folder() const;
  void finish();
  bool asked_to_stop();

  const Params& params_;
  Context& context_;
  const TrainRequest& request_;
  const std::shared_ptr<Backbone> backbone_;
  nn::ProcessGroup& group_;
  const Objective objective_;
  Set train_, held_out_;
  std::vector<std::string> sources_;    // names
  std::vector<std::size_t> source_of_;  // of each record
  std::optional<PairOrder> order_;
  nn::RewardHead head_;
  std::vector<NamedParameter> parameters_;
  std::optional<nn::Optimizer> optimizer_;
  Snapshots snapshots_;
  Watch watch_;
  Facts facts_;
};

}  // namespace dt2it::native
