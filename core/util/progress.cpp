// SPDX-License-Identifier: Apache-2.0
#include "core/util/progress.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstdio>

namespace dt2it {
namespace {

std::string duration(double seconds) {
  const auto s = static_cast<long>(seconds + 0.5);
  if (s < 60) return fmt::format("{} s", s);
  if (s < 3600) return fmt::format("{}:{:02} min", s / 60, s % 60);
  return fmt::format("{}:{:02} h", s / 3600, s / 60 % 60);
}

std::size_t terminal_width() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 100;
}

}  // namespace

StageProgress::StageProgress(ProgressBoard& board, std::string name)
    : board_(board),
      name_(std::move(name)),
      start_(std::chrono::steady_clock::now()),
      work_start_(start_) {}

StageProgress::~StageProgress() { board_.remove(this); }

void StageProgress::set_done(std::size_t done) {
  if (done_ == 0) at_start_ = done;
  done_ = done;
}

void StageProgress::finish() { finished_ = true; }

std::string StageProgress::line() const {
  const auto now = std::chrono::steady_clock::now();
  const double seconds = std::chrono::duration<double>(now - start_).count();
  const double at_work = std::chrono::duration<double>(now - work_start_.load()).count();
  const std::size_t done = done_, total = total_, at_start = std::min<std::size_t>(at_start_, done);
  const double rate = at_work > 0 ? static_cast<double>(done - at_start) / at_work : 0;
  std::string text = name_;
  if (finished_) {
    text += done > 0 ? fmt::format(": done, {}", done) : ": done";
  } else if (total > 0) {
    text += fmt::format(": {}/{} ({} %)", done, total, 100 * done / total);
  } else {
    text += fmt::format(": {}", done);
  }
  if (rate > 0) text += fmt::format(", {:.{}f}/s", rate, rate < 10 ? 1 : 0);
  if (!finished_ && rate > 0 && total > done)
    text += fmt::format(", {} left", duration(static_cast<double>(total - done) / rate));
  if (finished_) text += fmt::format(", {}", duration(seconds));
  if (calls_ > 0) text += fmt::format(", {} calls", calls_.load());
  if (failures_ > 0) text += fmt::format(", {} failed", failures_.load());
  return text;
}

ProgressBoard::ProgressBoard(bool quiet) : quiet_(quiet), terminal_(isatty(STDERR_FILENO) != 0) {
  if (quiet_) return;
  drawer_ = std::jthread([this](std::stop_token stop) {
    const auto pause =
        terminal_ ? std::chrono::milliseconds(250) : std::chrono::milliseconds(10000);
    std::mutex mutex;
    std::condition_variable_any wake;
    std::unique_lock lock(mutex);
    while (!wake.wait_for(lock, stop, pause, [] { return false; }) && !stop.stop_requested()) {
      std::lock_guard guard(mutex_);
      draw();
    }
  });
}

ProgressBoard::~ProgressBoard() { close(); }

std::unique_ptr<StageProgress> ProgressBoard::start(std::string name) {
  std::unique_ptr<StageProgress> stage(new StageProgress(*this, std::move(name)));
  std::lock_guard lock(mutex_);
  stages_.push_back(stage.get());
  return stage;
}

void ProgressBoard::say(const std::string& line) {
  std::lock_guard lock(mutex_);
  if (quiet_) return;
  clear();
  std::fprintf(stderr, "%s\n", line.c_str());
}

void ProgressBoard::close() {
  if (drawer_.joinable()) {
    drawer_.request_stop();
    drawer_.join();
  }
  std::lock_guard lock(mutex_);
  clear();
  closed_ = true;
}

void ProgressBoard::remove(StageProgress* stage) {
  std::lock_guard lock(mutex_);
  std::erase(stages_, stage);
  if (quiet_ || closed_ || !stage->finished_) return;
  clear();
  std::fprintf(stderr, "%s\n", stage->line().c_str());
}

void ProgressBoard::draw() {
  if (stages_.empty() || closed_) return;
  if (!terminal_) {
    for (const StageProgress* stage : stages_) std::fprintf(stderr, "%s\n", stage->line().c_str());
    return;
  }
  std::string text;
  for (const StageProgress* stage : stages_) text += (text.empty() ? "" : "  |  ") + stage->line();
  text = text.substr(0, terminal_width() - 1);
  std::fprintf(stderr, "\r\033[K%s", text.c_str());
  std::fflush(stderr);
  drawn_ = true;
}

void ProgressBoard::clear() {
  if (drawn_) std::fprintf(stderr, "\r\033[K");
  drawn_ = false;
}

}  // namespace dt2it
