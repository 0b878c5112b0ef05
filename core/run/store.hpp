// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "core/run/layout.hpp"
#include "core/util/file_lock.hpp"

namespace dt2it {

// The folders of finished and unfinished stages below one runs folder:
//
//   runs/.store/<type>-<key>/       finished: never changes again
//   runs/.work/<type>-<key>/        unfinished: output/ (becomes the finished folder), journals, locks
//   runs/.media/                    the media store that all stages share
//   runs/<experiment>/              run.json, resolved.toml, stages/<name> -> ../.store/..., report.html
//
// A finished folder appears by one rename, so it is either whole or not there.
class StageStore {
 public:
  // Looks only: the folders need not be there.
  explicit StageStore(std::filesystem::path runs);
  // Makes the folders, as claim() does. Throws Error when they cannot be made.
  void prepare() const;

  const std::filesystem::path& runs() const { return runs_; }
  std::filesystem::path media() const { return runs_ / layout::kMedia; }
  std::filesystem::path finished(const std::string& folder) const {
    return runs_ / layout::kStore / folder;
  }
  std::filesystem::path work(const std::string& folder) const {
    return runs_ / layout::kWork / folder;
  }
  bool complete(const std::string& folder) const;

  // Work on an unfinished stage. Holding it keeps other processes out; the kernel lets go of the lock when
  // the process dies, so there is no stale lock to clear away by hand.
  class Claim {
   public:
    std::filesystem::path work;    // survives an interrupted run
    std::filesystem::path output;  // emptied when the claim is made

   private:
    friend class StageStore;
    std::unique_ptr<FileLock> lock_;
  };

  // Nothing when another process is at work on it; `holder` then says which.
  std::optional<Claim> claim(const std::string& folder, std::string& holder);

  // Moves the output into place and removes the work folder.
  void finish(const std::string& folder, Claim claim);

  // Removes the work folder and what is in it.
  void drop(const std::string& folder, Claim claim);

  // Removes what a process left that was killed between finishing a stage and clearing its work folder.
  void tidy(const std::string& folder);

 private:
  std::filesystem::path runs_;
};

}  // namespace dt2it
