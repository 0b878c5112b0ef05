// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace dt2it {

class ProgressBoard;

// One stage's progress. Thread-safe.
class StageProgress {
 public:
  ~StageProgress();
  // Says how much there is to do. The rate counts from here: reading before the work is no work.
  void set_total(std::size_t total) {
    total_ = total;
    if (done_ == 0) work_start_ = std::chrono::steady_clock::now();
  }
  void set_done(std::size_t done);  // what was there at the start does not count for the rate
  void add(std::size_t done) { done_ += done; }
  void count_call(bool failed) {
    ++calls_;
    if (failed) ++failures_;
  }
  void finish();  // says that the stage is complete; without it the stage just leaves the board

 private:
  friend class ProgressBoard;
  StageProgress(ProgressBoard& board, std::string name);
  std::string line() const;

  ProgressBoard& board_;
  const std::string name_;
  const std::chrono::steady_clock::time_point start_;
  std::atomic<std::chrono::steady_clock::time_point> work_start_;
  std::atomic<std::size_t> total_{0}, done_{0}, at_start_{0}, calls_{0}, failures_{0};
  bool finished_ = false;
};

// The progress of all stages at work: on a terminal a line that is rewritten four times a second, otherwise
// a plain line for each stage every ten seconds and at its end; on standard error. Outlives its stages.
class ProgressBoard {
 public:
  explicit ProgressBoard(bool quiet);
  ~ProgressBoard();
  std::unique_ptr<StageProgress> start(std::string name);
  void say(const std::string& line);  // a line of its own, above the progress
  void close();                       // stops drawing

 private:
  friend class StageProgress;
  void remove(StageProgress* stage);
  void draw();
  void clear();

  const bool quiet_;
  const bool terminal_;
  std::mutex mutex_;
  std::vector<StageProgress*> stages_;
  bool drawn_ = false;
  bool closed_ = false;
  std::jthread drawer_;
};

}  // namespace dt2it
