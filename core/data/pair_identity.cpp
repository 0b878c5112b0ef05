// SPDX-License-Identifier: Apache-2.0
#include "core/data/pair_identity.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/data/records.hpp"
#include "dt2it/rng.hpp"

namespace dt2it {
namespace {

std::uint64_t side(const Response& response, const Prompt* own_prompt) {
  std::string text = response.id + '\0' + response.text;
  if (own_prompt) text += '\0' + to_json(*own_prompt);
  return stable_hash(text);
}

}  // namespace

PairIdentity identity_of(const PreferencePair& pair) {
  PairIdentity identity;
  const bool two = pair.rejected_prompt.has_value();
  identity.chosen = side(pair.chosen, two ? &pair.prompt : nullptr);
  identity.rejected = side(pair.rejected, two ? &*pair.rejected_prompt : nullptr);
  const auto [low, high] = std::minmax(identity.chosen, identity.rejected);
  std::string text = pair.id + '\0' + pair.source + '\0';
  identity.pair = stable_hash(text + fmt::format("{:x} {:x}", low, high));
  return identity;
}

}  // namespace dt2it
