// SPDX-License-Identifier: Apache-2.0
#include "core/run/store.hpp"

#include <fmt/format.h>

#include "core/run/layout.hpp"
#include "core/util/files.hpp"
#include "dt2it/error.hpp"

namespace dt2it {

namespace fs = std::filesystem;

StageStore::StageStore(fs::path runs) : runs_(fs::absolute(std::move(runs))) {}

void StageStore::prepare() const {
  make_folder(runs_ / layout::kStore);
  make_folder(runs_ / layout::kWork);
}

bool StageStore::complete(const std::string& folder) const { return fs::exists(finished(folder)); }

std::optional<StageStore::Claim> StageStore::claim(const std::string& folder, std::string& holder) {
  prepare();
  Claim claim;
  claim.work = work(folder);
  claim.output = claim.work / "output";
  // The lock stands beside the work folder, not in it: finish() removes the folder.
  claim.lock_ = FileLock::try_lock(runs_ / layout::kWork / (folder + ".lock"), holder);
  if (!claim.lock_) return std::nullopt;
  make_folder(claim.work);
  fs::remove_all(claim.output);
  make_folder(claim.output);
  return claim;
}

void StageStore::finish(const std::string& folder, Claim claim) {
  fsync_tree(claim.output);
  rename_into_place(claim.output, finished(folder));
  drop(folder, std::move(claim));
}

void StageStore::tidy(const std::string& folder) {
  if (!fs::exists(work(folder)) && !fs::exists(runs_ / layout::kWork / (folder + ".lock"))) return;
  std::string holder;
  if (auto claim = this->claim(folder, holder)) drop(folder, std::move(*claim));
}

void StageStore::drop(const std::string& folder, Claim claim) {
  fs::remove_all(claim.work);
  std::error_code ignored;
  fs::remove(runs_ / layout::kWork / (folder + ".lock"), ignored);
}

}  // namespace dt2it
