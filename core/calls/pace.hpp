// SPDX-License-Identifier: Apache-2.0
#pragma once

// How much may be sent to one endpoint, and when. Three things bound it: limits per minute, known from the
// configuration or from headers; a rate found by being told off (429); and a number in flight that is
// found by what the endpoint gets done, since many servers queue in silence.
//
// The number in flight: doubled until the throughput does not follow, then tried a little down and a little
// up; down where it costs nothing, up only where it pays. So it comes from above: one call too many waits at the
// server, one too few is lost. More come one after the other, not in a burst.
// After a 429, 503 or 529: pause as told. The first one begins a search for the rate: doubled until one does not hold, then
// halfway between the best that held and the least that did not, until these are near each other. From then on a little below
// the rate at which it came, back to it on a flat curve, and above it after a while. Where all that were told off were beyond
// a number at once up to which all were served, that number is the bound instead.

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>
#include <string_view>

#include "dt2it/remote_mllm.hpp"

namespace dt2it {

// One use of a limit per minute, spread evenly: at most kBurst seconds' worth at once.
class Spread {
 public:
  void set(double per_minute) { per_second_ = per_minute / 60; }
  double per_second() const { return per_second_; }
  double wait(double now) const { return per_second_ > 0 && free_at_ > now ? free_at_ - now : 0; }
  void take(double now, double amount);
  void begin_at(double time) {
    free_at_ = std::max(free_at_, time);
  }  // what was not used before is gone

 private:
  static constexpr double kBurst = 0.02;  // seconds: the grain of timers
  double per_second_ = 0;                 // 0: unbounded
  double free_at_ = 0;
};

// Not thread-safe. Times in seconds of any steady clock.
class Pace {
 public:
  explicit Pace(const Endpoint& endpoint);

  // 0: one more call may start now; otherwise look again after so many seconds, or when a call ends.
  double wait(double now) const;
  void started(double now, double tokens);

  // A call ended: `served`: with an answer; `slow_down`: told off. `wait_seconds` as the server asked,
  // negative when it did not.
  struct End {
    double started = 0;
    bool served = false;
    bool slow_down = false;
    double wait_seconds = -1;
    int at_once = 0;  // in_flight() when it had started
  };
  void ended(double now, const End& end);
  // A call used so many tokens more (or less) than started() was told.
  void correct_tokens(double now, double more);

  // What rate-limit headers say: OpenAI's and Anthropic's names.
  void read_headers(double now, const HttpAnswer& answer);

  int in_flight() const { return in_flight_; }
  int limit() const { return static_cast<int>(limit_); }
  double held_until() const { return held_until_; }

 private:
  void end_window(double now);
  void slow_down(double now, const End& end);
  double rate_of_last(std::size_t count) const;
  double served_rate() const;
  void grow_rate(double now);
  bool too_many_at_once(const End& end);
  bool by_chance(double now, const End& end);
  void look_for_rate(double now, double rate);
  void rate_held(double now);
  void rate_found(double now, double share);
  void forget_rate();
  double level_seconds() const;

  const double most_;
  const bool adapt_;
  const double first_wait_;  // after a 429 that does not say how long
  int in_flight_ = 0;
  double held_until_ = 0;
  Spread requests_, tokens_;
  Spread found_;     // the rate that 429s taught
  Spread ramp_;      // how fast the number in flight may rise
  double peak_ = 0;  // calls a second at which it was told off; 0: never, or too early to know
  double lowered_ = 0, lowered_at_ = 0;  // by what share, and when, found_ was put below it
  // The search for that rate: the best that held, and the least that did not; 0: none yet.
  bool looking_ = false, tried_again_ = false;
  double held_ = 0, refused_ = 0;
  double counted_from_ = -1;  // since then these calls were sent, and of them told off
  double sent_ = 0, sent_in_vain_ = 0;
  double sustained_ = 0;  // most answers a second, over two seconds or more
  double lasting_ = 0, lasting_from_ = 0;
  int told_off_ = 0;  // in a row
  double cut_at_ = -1;
  double refused_share_ = 0;  // of late
  int surprises_ = 0;         // in a row
  double chance_until_ = -1;  // being told off says nothing about the rate
  // For endpoints that bound the number at once: what was found, and by what.
  int at_once_ = 0, most_served_ = 0, least_refused_ = std::numeric_limits<int>::max();
  int refusals_ = 0, answers_counted_ = 0;

  // The search for the number in flight.
  enum class Search { doubling, steady, up, down };
  Search search_ = Search::doubling;
  double limit_ = 8;
  double before_ = 0;                // limit before the step that is tried
  double throughput_ = 0;            // of the step before
  double level_ = 0;                 // mean of late at this limit
  bool doubted_ = false;             // the last doubling did not pay, in one window
  int rest_ = 0, longest_rest_ = 1;  // windows until the next step
  bool down_next_ = false;
  double window_from_ = 0;
  double served_ = 0, full_ = 0, looked_ = 0;
  mutable bool spread_ =
      false;  // the next call waits only so that it does not go in a burst: there is no lack of work
  double skip_ = 0;  // answers that still belong to the limit before

  // When the last answers came, a ring: what was served lately.
  static constexpr std::size_t kRecent = 1024;
  std::array<double, kRecent> recent_{};
  std::size_t answers_ = 0;  // since the rate was looked at
  std::size_t well_ = 0;     // answers since the last telling-off
  double paused_ = 0;        // seconds of all pauses: no part of a rate
};

// "12ms", "1s", "6m0s", "1h2m3.5s", or plain seconds; negative when it is none of these.
double duration_seconds(std::string_view text);
// A point in time as in RFC 3339, in seconds since 1970; negative when it is none.
double timestamp_seconds(std::string_view text);
// How long an answer asks to wait: retry-after-ms, else retry-after in seconds or as an HTTP date, else by
// the words of its body; negative when it does not. `now`: seconds since 1970.
double told_wait(const HttpAnswer& answer, double now);

}  // namespace dt2it
