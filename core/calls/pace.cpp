// SPDX-License-Identifier: Apache-2.0
#include "core/calls/pace.hpp"

#include <curl/curl.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <limits>
#include <utility>

namespace dt2it {

namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();
constexpr double kLongestHold = 600;  // seconds; looked at again after that
// A rate holds when it was kept for so long, and so many calls; search ends where the one that does not is nearer than this.
constexpr double kProbe = 0.5, kProbeCalls = 12, kNearEnough = 1.12, kLasting = 2;
constexpr double kMoved =
    1.3;  // so far above the rate found without being told off, it is searched for anew

// A header's number; NaN when it is none.
double number_of(std::string_view text) {
  double value = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
  return read.ec == std::errc{} && read.ptr == text.data() + text.size() && std::isfinite(value)
             ? value
             : std::numeric_limits<double>::quiet_NaN();
}

double wall_clock() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

// ---------------------------------------------------------------- limits per minute

void Spread::take(double now, double amount) {
  if (per_second_ <= 0) return;
  free_at_ = std::max(free_at_, now - kBurst) + amount / per_second_;
}

Pace::Pace(const Endpoint& endpoint)
    : most_(std::max(1, endpoint.max_in_flight)),
      adapt_(endpoint.adapt),
      first_wait_(endpoint.retry_delay_seconds) {
  requests_.set(endpoint.requests_per_minute);
  tokens_.set(endpoint.tokens_per_minute);
  limit_ = adapt_ ? std::min(limit_, most_) : most_;
  skip_ = limit_;  // the first answers come all at once
  if (adapt_) ramp_.set(60 * 20);
}

double Pace::wait(double now) const {
  if (in_flight_ >= static_cast<int>(limit_)) return kNever;
  const double limits =
      std::max({held_until_ - now, requests_.wait(now), tokens_.wait(now), found_.wait(now), 0.0});
  const double ramp = ramp_.wait(now);
  spread_ = spread_ || ramp > limits;
  return std::max(limits, ramp);
}

void Pace::started(double now, double tokens) {
  ++in_flight_;
  requests_.take(now, 1);
  tokens_.take(now, tokens);
  found_.take(now, 1);
  ramp_.take(now, 1);
  if (counted_from_ < 0) counted_from_ = now;
  ++sent_;
  looked_ += 1;
  full_ += in_flight_ >= static_cast<int>(limit_) || spread_;
  spread_ = false;
}

void Pace::ended(double now, const End& end) {
  --in_flight_;
  refused_share_ += 0.05 * (end.slow_down - refused_share_);
  if (end.slow_down) {
    if (end.started >= counted_from_) ++sent_in_vain_;
    return slow_down(now, end);
  }
  if (!end.served) return;
  told_off_ = 0;
  ++well_;
  most_served_ = std::max(most_served_, end.at_once);
  ++answers_counted_;
  if (at_once_ > 0) at_once_ = std::max(at_once_, end.at_once);
  if (window_from_ == 0) window_from_ = now;
  if (now >= held_until_) recent_[answers_++ % kRecent] = now - paused_;
  if (++lasting_ >= 16 &&
      now >= lasting_from_ + kLasting) {  // pauses count, unlike in served_rate()
    if (lasting_from_ > 0) sustained_ = std::max(sustained_, lasting_ / (now - lasting_from_));
    lasting_ = 0;
    lasting_from_ = now;
  }
  if (looking_)
    rate_held(now);
  else
    grow_rate(now);
  if (!adapt_) return;
  // More in flight come one after the other: in a burst they would meet limits that are meant for others.
  if (const std::size_t count = std::min<std::size_t>(answers_, 16); count >= 4) {
    const double rate = rate_of_last(count);
    ramp_.set(rate < 1000 ? 60 * std::max(2.0, 1.5 * rate) : 0);
  }
  if (skip_ > 0) {
    if (--skip_ <= 0) {
      window_from_ = now;
      served_ = full_ = looked_ = 0;
    }
    return;
  }
  ++served_;
  // Each place in flight was used several times: the answers of one window belong to one limit. And not in an
  // instant, in which a machine with other work does nothing or much.
  const bool doubling = search_ == Search::doubling;
  const double wanted = doubling ? std::max(8.0, 2 * limit_) : std::max(16.0, 4 * limit_);
  if (served_ >= wanted && now >= window_from_ + (doubling ? 0.1 : 0.25)) end_window(now);
}

void Pace::correct_tokens(double now, double more) { tokens_.take(now, more); }

// ---------------------------------------------------------------- the number in flight

void Pace::end_window(double now) {
  const double throughput = served_ / (now - window_from_);
  const bool was_full = full_ >= 0.5 * looked_;  // else it was work that was short, or the rate
  window_from_ = now;
  served_ = full_ = looked_ = 0;
  if (!was_full) {
    if (search_ != Search::doubling) search_ = Search::steady;
    throughput_ = level_ = 0;
    return;
  }
  const auto step_to = [&](Search search, double limit, double reached) {
    before_ = limit_;
    search_ = search;
    throughput_ = reached;
    limit_ = std::clamp(limit, 1.0, most_);
    skip_ = before_;
    level_ = 0;
    doubted_ = false;
    if (static_cast<int>(limit_) == static_cast<int>(before_)) {
      search_ = Search::steady;
      rest_ = longest_rest_;
    }
  };
  const auto step_back = [&] {
    skip_ = limit_;
    limit_ = before_;
    search_ = Search::steady;
    level_ = throughput_;
    rest_ = longest_rest_ = std::min(2 * longest_rest_, 8);
  };
  switch (search_) {
    case Search::doubling:
      // A third of what was added must come back as throughput; of two windows the better one says so.
      if (throughput_ > 0 && throughput < throughput_ * (1 + 0.3 * (limit_ / before_ - 1))) {
        if (!std::exchange(doubted_, true)) return;
        search_ = Search::steady;
        level_ = std::max(throughput, throughput_);
        rest_ = 0;
        down_next_ = false;
        return;
      }
      return step_to(Search::doubling, 2 * limit_, throughput);
    case Search::up:
      if (throughput >= 1.05 * throughput_)
        return step_to(Search::up, limit_ * 1.25 + 1, throughput);
      return step_back();
    case Search::down:
      // Small losses must not add up: the best so far is the measure.
      if (throughput >= 0.98 * throughput_)
        return step_to(Search::down, limit_ * 0.85, std::max(throughput, throughput_));
      return step_back();
    case Search::steady:
      level_ = level_ > 0 ? 0.5 * (level_ + throughput) : throughput;
      if (rest_-- > 0) return;
      down_next_ = !down_next_;
      return down_next_ || limit_ >= most_ ? step_to(Search::down, limit_ * 0.85, level_)
                                           : step_to(Search::up, limit_ * 1.25 + 1, level_);
  }
}

// ---------------------------------------------------------------- being told off

double Pace::rate_of_last(std::size_t count) const {
  const double first = recent_[(answers_ - count) % kRecent],
               last = recent_[(answers_ - 1) % kRecent];
  return static_cast<double>(count - 1) / std::max(last - first, 1e-3);
}

// Answers a second, over the last 64 of them or the last second; 0 where there are too few to tell.
double Pace::served_rate() const {
  if (answers_ < 8) return 0;
  const double last = recent_[(answers_ - 1) % kRecent];
  const std::size_t most = std::min(answers_, kRecent);
  std::size_t count = std::min<std::size_t>(answers_, 64);
  while (count < most && recent_[(answers_ - count - 1) % kRecent] > last - 1) ++count;
  return rate_of_last(count);
}

// ---- the search for the rate

void Pace::look_for_rate(double now, double rate) {
  looking_ = true;
  found_.set(60 * rate);
  counted_from_ = std::max(now, held_until_);
  if (refused_ > 0 || held_ <= 0) found_.begin_at(counted_from_);
  sent_ = sent_in_vain_ = 0;
}

// After answers: has the rate that is tried held for long enough?
void Pace::rate_held(double now) {
  const double rate = found_.per_second(), time = now - counted_from_;
  if (time < std::max(kProbe, kProbeCalls / rate)) return;
  if (sent_ < 0.7 * rate * time) {  // fewer were sent for other reasons
    counted_from_ = now;
    sent_ = sent_in_vain_ = 0;
    return;
  }
  held_ = rate;
  tried_again_ = false;
  if (refused_ <= 0) return look_for_rate(now, 2 * rate);
  if (refused_ < kNearEnough * held_) return rate_found(now, 1 - held_ / refused_);
  look_for_rate(now, std::sqrt(held_ * refused_));
}

void Pace::rate_found(double now, double share) {
  looking_ = false;
  peak_ = refused_;
  lowered_ = share;
  lowered_at_ = std::max(now, held_until_);
  found_.set(60 * peak_ * (1 - lowered_));
  found_.begin_at(lowered_at_);
}

void Pace::forget_rate() {
  looking_ = tried_again_ = false;
  held_ = refused_ = peak_ = sustained_ = 0;
  found_.set(0);
}

// Back to where it was told off on a flat curve, some time there, and then up faster and faster.
void Pace::grow_rate(double now) {
  if (peak_ <= 0) return;
  const double x = (now - lowered_at_) / level_seconds() - 1;
  const double factor = 1 + (x < 0 ? lowered_ : 0.1) * x * x * x;
  found_.set(60 * peak_ * std::min(factor, kMoved));
  if (factor < kMoved || answers_ < 16 ||
      rate_of_last(std::min<std::size_t>(answers_, 64)) < 0.8 * kMoved * peak_)
    return;
  held_ = refused_ = 0;
  look_for_rate(now, kMoved * peak_);
}

double Pace::level_seconds() const { return std::max(3.0, 30 / peak_); }

// Being told off again and again well below the rate that it began with, with answers in between: it is not the rate.
bool Pace::by_chance(double now, const End& end) {
  if (refused_share_ > 0.2) return false;
  if (found_.per_second() > 0) {
    const double level = peak_ > 0 ? level_seconds() : 0;
    if (!looking_ && now - lowered_at_ >= level)
      surprises_ = 0;
    else if (found_.per_second() < 0.8 * sustained_)
      ++surprises_;
  }
  if (surprises_ >= 3) {
    chance_until_ = now + 60;
    surprises_ = 0;
    forget_rate();
  }
  return now < chance_until_ && end.wait_seconds < 1;
}

void Pace::slow_down(double now, const End& end) {
  // Calls that were on their way when the pace was cut say nothing new.
  const bool news = end.started >= cut_at_;
  if (news && by_chance(now, end)) {
    well_ = 0;
    return;
  }
  const double ceiling = found_.per_second();  // 0: none was found
  const bool near = ceiling > 0 && well_ >= 20;
  ++told_off_;
  double own = std::min(first_wait_ * std::pow(2.0, std::min(told_off_ - 1, 12)), 60.0);
  if (near || looking_) own = std::min(own, 0.05 + 2 / ceiling);  // near the rate that does
  // Right at the beginning of a try it says that nothing was left from before, and nothing of the rate: once more, after a
  // moment longer.
  const bool too_soon = news && looking_ && sent_ - sent_in_vain_ < 4 && !tried_again_;
  const double told = std::min(end.wait_seconds >= 0 ? end.wait_seconds
                               : news                ? own
                                                     : 0,
                               kLongestHold);
  const double wait = too_soon ? std::max(told, 0.05) : told;
  if (now + wait > held_until_) {
    paused_ += now + wait - std::max(now, held_until_);
    held_until_ = now + wait;
  }
  if (!news) return;
  cut_at_ = now;
  if (well_ >= 20) ++refusals_;  // of one burst the first
  well_ = 0;
  served_ = full_ = looked_ = 0;
  window_from_ = std::max(now, held_until_);
  if (adapt_ && too_many_at_once(end)) return;
  throughput_ = level_ = 0;
  if (ceiling <= 0) {  // what was sent and not told off, as far as it can be told so soon
    return look_for_rate(
        now, std::max(1.0, sent_ - sent_in_vain_) / std::max(0.05, now - counted_from_));
  }
  if (looking_) {
    tried_again_ = too_soon;
    if (too_soon) return look_for_rate(now, ceiling);
    refused_ = refused_ > 0 ? std::min(refused_, ceiling) : ceiling;
    if (held_ >= refused_) held_ = 0;  // no longer so
    if (held_ > 0 && refused_ < kNearEnough * held_) return rate_found(now, 1 - held_ / refused_);
    return look_for_rate(now, held_ > 0 ? std::sqrt(held_ * refused_) : 0.5 * ceiling);
  }
  peak_ = std::clamp((near ? 1.02 : 1.05) * served_rate(), 0.75 * ceiling, ceiling);
  lowered_ = near ? 0.05 : 0.15;
  lowered_at_ = std::max(now, held_until_);
  found_.set(60 * peak_ * (1 - lowered_));
  found_.begin_at(lowered_at_);
  if (!near) answers_ = 0;
}

// Some endpoints count calls at once and not by time: then all that were told off were beyond a number up to which
// all were served.
bool Pace::too_many_at_once(const End& end) {
  least_refused_ = std::min(least_refused_, end.at_once);
  if (at_once_ > 0 && end.at_once <= at_once_) at_once_ = 0;  // no longer so
  if (refusals_ >= 3 && at_once_ == 0 && answers_counted_ >= 20) {
    if (least_refused_ > most_served_) at_once_ = most_served_;
    refusals_ = most_served_ = answers_counted_ = 0;
    least_refused_ = std::numeric_limits<int>::max();
  }
  if (at_once_ == 0) return false;
  limit_ = at_once_;
  search_ = Search::steady;
  throughput_ = level_ = 0;
  rest_ = longest_rest_ = 16;
  forget_rate();
  return true;
}

void Pace::read_headers(double now, const HttpAnswer& answer) {
  if (answer.head.find("ratelimit") == std::string::npos &&
      answer.head.find("RateLimit") == std::string::npos)
    return;
  struct Names {
    const char *limit, *remaining, *reset;
    Spread* spread;
  };
  for (const Names& names :
       {Names{"x-ratelimit-limit-requests", "x-ratelimit-remaining-requests",
              "x-ratelimit-reset-requests", &requests_},
        Names{"x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens",
              "x-ratelimit-reset-tokens", &tokens_},
        Names{"anthropic-ratelimit-requests-limit", "anthropic-ratelimit-requests-remaining",
              "anthropic-ratelimit-requests-reset", &requests_},
        Names{"anthropic-ratelimit-tokens-limit", "anthropic-ratelimit-tokens-remaining",
              "anthropic-ratelimit-tokens-reset", &tokens_}}) {
    const double limit = number_of(answer.header(names.limit));
    if (!(limit > 0)) continue;  // 0 and less: not known
    if (names.spread->per_second() <= 0 || limit / 60 < names.spread->per_second())
      names.spread->set(limit);
    if (number_of(answer.header(names.remaining)) == 0) {
      const std::string reset = answer.header(names.reset);
      double wait = duration_seconds(reset);
      if (wait < 0 && timestamp_seconds(reset) >= 0) wait = timestamp_seconds(reset) - wall_clock();
      if (wait > 0) held_until_ = std::max(held_until_, now + std::min(wait, kLongestHold));
    }
  }
}

// ---------------------------------------------------------------- times in headers

double duration_seconds(std::string_view text) {
  if (text.empty()) return -1;
  double total = 0;
  bool unit_seen = false;
  for (std::size_t at = 0; at < text.size();) {
    double value = 0;
    const char* end = text.data() + text.size();
    const auto read = std::from_chars(text.data() + at, end, value);
    if (read.ec != std::errc{} || !std::isfinite(value) || value < 0) return -1;
    at = static_cast<std::size_t>(read.ptr - text.data());
    std::size_t unit = at;
    while (unit < text.size() && text[unit] >= 'a' && text[unit] <= 'z') ++unit;
    const std::string_view name = text.substr(at, unit - at);
    if (name.empty() && (unit_seen || unit != text.size())) return -1;
    const double factor = name == "ms"                  ? 1e-3
                          : name.empty() || name == "s" ? 1
                          : name == "m"                 ? 60
                          : name == "h"                 ? 3600
                          : name == "d"                 ? 86400
                          : name == "us"                ? 1e-6
                                                        : -1;
    if (factor < 0) return -1;
    total += value * factor;
    unit_seen = true;
    at = unit;
  }
  return total;
}

double timestamp_seconds(std::string_view text) {
  // 2026-08-01T12:00:30Z, also with a fraction or an offset: curl reads "20260801 12:00:30 +0000".
  if (text.size() < 20 || text[4] != '-' || text[7] != '-' || text[10] != 'T') return -1;
  std::string date(text.substr(0, 4));
  date.append(text.substr(5, 2)).append(text.substr(8, 2)).append(" ").append(text.substr(11, 8));
  std::size_t zone = 19;
  if (text[zone] == '.')
    for (++zone; zone < text.size() && text[zone] >= '0' && text[zone] <= '9';) ++zone;
  std::string offset(text.substr(zone));
  std::erase(offset, ':');
  date += " " + (offset == "Z" || offset == "z" ? std::string("+0000") : offset);
  return static_cast<double>(curl_getdate(date.c_str(), nullptr));
}

double told_wait(const HttpAnswer& answer, double now) {
  if (const double wait = number_of(answer.header("retry-after-ms")); wait >= 0) return wait / 1000;
  const std::string after = answer.header("retry-after");
  if (const double wait = number_of(after); !std::isnan(wait)) return std::max(0.0, wait);
  if (!after.empty())
    if (const std::time_t date = curl_getdate(after.c_str(), nullptr); date >= 0)
      return std::max(0.0, static_cast<double>(date) - now);
  if (answer.status == 200) return -1;
  // Only the body may say it: "Please try again in 6m0s.", or Google's "retryDelay": "55s".
  for (const std::string_view words :
       {"try again in ", "\"retryDelay\": \"", "\"retryDelay\":\""}) {
    std::size_t at = answer.body.find(words);
    if (at == std::string::npos) continue;
    at += words.size();
    std::size_t end = at;
    const auto part = [&](std::size_t i) {
      const char c = answer.body[i];
      return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
             (c == '.' && i + 1 < answer.body.size() && answer.body[i + 1] >= '0' &&
              answer.body[i + 1] <= '9');
    };
    while (end < answer.body.size() && end < at + 32 && part(end)) ++end;
    return duration_seconds(std::string_view(answer.body).substr(at, end - at));
  }
  return -1;
}

}  // namespace dt2it
