// SPDX-License-Identifier: Apache-2.0
#include "core/stages/decision_log.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <string_view>
#include <utility>

#include "core/data/records.hpp"
#include "core/run/layout.hpp"
#include "core/util/characters.hpp"
#include "core/util/json.hpp"
#include "dt2it/error.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMostWaiting = 8;  // windows

void add(JsonWriter& json, const DecisionLog::Line& line) {
  const Decision& decision = line.decision;
  json.begin_object();
  json.key("id").value(line.id).key("source").value(line.source);
  json.key("curator").value(*line.curator);
  json.key("action").value(to_string(decision.action)).key("settled").value(decision.settled);
  json.key("reason").value(decision.reason);
  if (decision.strength) json.key("strength").value(*decision.strength);
  if (!decision.strengths.empty()) {
    json.key("strengths").begin_array();
    for (const double strength : decision.strengths) json.value(strength);
    json.end_array();
  }
  if (decision.votes_chosen) json.key("votes_chosen").value(*decision.votes_chosen);
  if (decision.votes_rejected) json.key("votes_rejected").value(*decision.votes_rejected);
  if (decision.votes_chosen || decision.votes_rejected) {
    json.key("responses").begin_object();
    for (const std::size_t side : {0, 1}) {
      json.key(side == 0 ? "chosen" : "rejected").begin_object();
      json.key("mllm").value(line.sides[side].mllm);
      json.key("length").value(line.sides[side].length).end_object();
    }
    json.end_object();
  }
  if (!decision.detail.empty()) json.key("detail").raw(decision.detail);
  json.key("row").value(line.row);
  json.end_object().raw("\n");
}

}  // namespace

DecisionLog::Line::Line(std::size_t row, const std::string& curator, const PreferencePair& pair,
                        Decision&& decision)
    : row(row), curator(&curator), id(pair.id), source(pair.source), decision(std::move(decision)) {
  if (this->decision.votes_chosen || this->decision.votes_rejected)
    sides = {Side{pair.chosen.mllm, characters(pair.chosen.text)},
             Side{pair.rejected.mllm, characters(pair.rejected.text)}};
}

DecisionLog::DecisionLog(const fs::path& work) : file_(work / layout::kDecisions) {
  const fs::path ends = work / "windows.journal";
  ends_.emplace(ends);
  while (ends_->contains(before_)) ++before_;
  std::error_code error;
  const std::uint64_t there = fs::exists(file_) ? fs::file_size(file_) : 0;
  if (before_) end_ = std::stoull(ends_->read(before_ - 1));
  if (there <
      end_) {  // power failed between the two files; what judges answered is in the store of calls
    spdlog::warn("{}: is shorter than it was; the decisions are made anew", file_.string());
    ends_.reset();
    fs::remove(ends);
    ends_.emplace(ends);
    before_ = end_ = 0;
  }
  if (there > end_) fs::resize_file(file_, end_, error);
  if (error) throw Error(fmt::format("{}: cannot be cut: {}", file_.string(), error.message()));
  if (before_) old_.emplace(file_);
  out_.emplace(file_, FileWriter::Begin::behind_what_is_there);
  writer_ = std::thread([this] { write(); });
}

DecisionLog::~DecisionLog() {
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
  }
  appended_.notify_one();
  writer_.join();
}

std::vector<DecisionLog::Entry> DecisionLog::read(std::size_t window) {
  const std::uint64_t end = std::stoull(ends_->read(window));
  std::vector<Entry> entries;
  JsonParser parser;
  for (std::string_view line; read_ < end && old_->next(line);) {
    read_ += line.size() + 1;
    const std::string where = old_->where();
    const JsonRef json = parser.parse(line, where);
    Entry& entry = entries.emplace_back();
    std::string_view text;
    std::uint64_t row = 0;
    double number = 0;
    if (json.element["curator"].get(text) || json.element["row"].get(row) ||
        json.element["settled"].get(entry.decision.settled))
      throw DataError(where + ": is no decision; remove the folder to begin the stage anew");
    entry.curator = text;
    entry.row = row;
    text = json.element["action"].get_string().value_unsafe();
    for (const auto action : {Decision::Action::keep, Decision::Action::flip,
                              Decision::Action::discard, Decision::Action::undecided})
      if (text == to_string(action)) entry.decision.action = action;
    if (!json.element["strength"].get(number)) entry.decision.strength = number;
    simdjson::dom::array list;
    if (!json.element["strengths"].get(list))
      for (const auto one : list)
        entry.decision.strengths.push_back(one.get_double().value_unsafe());
  }
  return entries;
}

void DecisionLog::append(std::size_t window, std::vector<Line> lines) {
  std::unique_lock lock(mutex_);
  written_.wait(lock, [&] { return error_ || waiting_.size() < kMostWaiting; });
  if (error_) std::rethrow_exception(error_);
  waiting_.push_back({window, std::move(lines)});
  lock.unlock();
  appended_.notify_one();
}

void DecisionLog::write() {
  JsonWriter json;
  std::vector<Window> windows;
  std::unique_lock lock(mutex_);
  for (;;) {
    appended_.wait(lock, [&] { return over_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    windows.swap(waiting_);
    writing_ = true;
    lock.unlock();
    written_.notify_one();
    std::exception_ptr error;
    try {
      for (const Window& window : windows) {
        json.clear();
        for (const Line& line : window.lines) add(json, line);
        out_->write(json.text());
        end_ += json.text().size();
        ends_->append(window.number, std::to_string(end_));
      }
    } catch (...) {
      error = std::current_exception();
    }
    windows.clear();
    lock.lock();
    writing_ = false;
    error_ = error;
    if (error) waiting_.clear();
    written_.notify_one();
    if (error) return;
  }
}

void DecisionLog::put_into(const fs::path& target) {
  {
    std::unique_lock lock(mutex_);
    written_.wait(lock, [&] { return error_ || (waiting_.empty() && !writing_); });
    if (error_) std::rethrow_exception(error_);
  }
  out_->close();
  std::error_code no_links;
  fs::create_hard_link(file_, target, no_links);
  if (no_links) fs::copy_file(file_, target);
}

}  // namespace dt2it
