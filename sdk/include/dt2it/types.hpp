// SPDX-License-Identifier: Apache-2.0
#pragma once

// The records that flow between stages and plugins: plain structs, no behaviour.
//
// `extra` on a record is the JSON object text of all keys that these structs do not know, kept byte
// for byte so that foreign data survives a round trip; empty when there are none. Known truth of drawn
// data travels there under the key "truth"; the host strips `extra` before a prompt reaches a model.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace dt2it {

// How an expected failure in bulk work is recorded. Only `ok` carries a value.
enum class Status : std::uint8_t {
  ok,
  unparsed,       // an answer came but could not be read in the form that was asked for
  refused,        // the model declined (also: content filter)
  truncated,      // the answer was cut at the token limit before it was complete
  unavailable,    // outage, time-out, quota: nothing was answered
  missing_media,  // an image or video of the record is absent or cannot be decoded
  invalid,        // the request or record itself is unusable
};

// An image or video by content. Bytes live in the MediaStore, never in a record.
struct Media {
  enum class Kind : std::uint8_t { image, video };
  Kind kind = Kind::image;
  std::string
      id;  // SHA-256 of the bytes, 64 lower-case hex digits; empty when the bytes are absent
  std::string mime;  // sniffed from the bytes, e.g. "image/png"; empty when absent
  int width = 0;     // pixels, from the header (EXIF orientation not applied); 0 when unknown
  int height = 0;
  std::string source;               // path or URL as the record gave it
  std::vector<std::string> frames;  // a video given as frames: media ids in order

  bool present() const { return !id.empty() || !frames.empty(); }
  bool operator==(const Media&) const = default;
};

// One piece of a message, in reading order. `text` holds for Kind::text, `media` for the others.
struct Part {
  enum class Kind : std::uint8_t { text, image, video };
  Kind kind = Kind::text;
  std::string text;
  Media media;

  static Part of_text(std::string text) { return {Kind::text, std::move(text), {}}; }
  static Part of_image(Media media) { return {Kind::image, {}, std::move(media)}; }
  bool operator==(const Part&) const = default;
};

struct Message {
  enum class Role : std::uint8_t { system, user, assistant };
  Role role = Role::user;
  std::vector<Part> content;
  bool operator==(const Message&) const = default;
};

// A question with its media, possibly multi-turn; the last message is the user's.
struct Prompt {
  std::string id;
  std::vector<Message> messages;
  std::string
      reference;  // ground-truth answer; empty when there is none. Shown to judges, not to writers
  std::string source;  // data set it came from
  std::string domain;  // e.g. "visual_understanding", "reasoning", "safety"; free text
  std::string extra;
  bool operator==(const Prompt&) const = default;
};

// An answer. Before it is paired it is called a candidate.
struct Response {
  std::string id;  // unique within its prompt
  std::string text;
  std::string mllm;    // name of the [mllms.*] component that wrote it; empty for foreign data
  std::string origin;  // "sampled", "better" or "noised" (diversity enhancement), "dataset"
  Status status = Status::ok;
  std::string finish_reason;
  Media noised_image;  // the image it was written from, when that is not the prompt's own
  std::string extra;
  bool operator==(const Response&) const = default;
};

// One rubric criterion in a judge's answer.
struct Criterion {
  std::string name;
  double weight =
      0;  // as the judge gave it, then normalised so that the weights of a score sum to 1
  double score = 0;  // 0 ... 10
  std::string analysis;
  bool operator==(const Criterion&) const = default;
};

// A judge's opinion of one response (paper section 3.1: S = sum of weight * score).
struct Score {
  Status status = Status::invalid;
  double overall = std::numeric_limits<double>::quiet_NaN();  // 0 ... 10; recomputed weighted mean
  std::optional<double> stated_overall;  // the figure the judge itself wrote, kept beside ours
  std::vector<Criterion> criteria;
  std::string judge_reference;  // the judge's own reference answer
  std::string detail;           // why the status is not ok; else JSON of repeated draws
  std::string reply;            // raw text of the answer that this score was read from
  bool ok() const { return status == Status::ok; }
};

// A judge's comparison of two responses in the order in which they were shown.
struct Verdict {
  enum class Winner : std::uint8_t { first, second, tie };
  Status status = Status::invalid;
  Winner winner = Winner::tie;
  std::optional<double> first_score, second_score;
  std::string detail;  // likewise
  std::string reply;
  bool ok() const { return status == Status::ok; }
};

// The reward model's scalar for one response. Unbounded; only differences within a prompt mean anything.
struct Reward {
  Status status = Status::invalid;
  double value = std::numeric_limits<double>::quiet_NaN();
  std::string detail;  // why the status is not ok
  bool ok() const { return status == Status::ok; }
};

// chosen is preferred over rejected. Both answer `prompt`, unless `rejected_prompt` is set: then the
// rejected response belongs to that one (Omni-Reward's form, where the images differ and the text is
// the same; paper eq. 2).
struct PreferencePair {
  std::string id;  // unique within its file unless the data set itself repeats ids (benchmarks do)
  Prompt prompt;
  std::optional<Prompt> rejected_prompt;
  Response chosen;
  Response rejected;
  std::string source;              // data set or stage it came from; curators work per source
  std::string group;               // benchmark category or task; free text
  std::optional<double> strength;  // mean margin over several reward models
  std::vector<double> strengths;   // margin of each voting model, in their configured order
  std::string extra;
  bool operator==(const PreferencePair&) const = default;
};

// Answers to one prompt as a file holds them, to be given rewards.
struct AnswerRecord {
  std::size_t row = 0;  // position in the data set, from 0
  std::string id;       // as the record has it; may be empty or repeat
  Prompt prompt;
  std::optional<Prompt> rejected_prompt;  // as in PreferencePair
  std::vector<Response> responses;
  bool pair = false;           // two responses: chosen, rejected
  Status status = Status::ok;  // not ok: the record cannot be used, and all but row is unspecified
  std::string detail;          // why not, with file and line
};

// A text-to-image preference: for `text`, image `better` was preferred over `worse`.
struct ImagePreference {
  std::string id;
  std::string text;
  Media better;
  Media worse;
  std::string source;
  std::string extra;
  bool operator==(const ImagePreference&) const = default;
};

// A benchmark figure. `value` is a fraction (0 ... 1) when `total` is set, with the integer counts it
// came from; otherwise a plain number.
struct Metric {
  std::string
      name;  // e.g. "overall_accuracy", "macro_accuracy", "acc_plus", "accuracy/hallucination"
  double value = 0;
  std::optional<std::int64_t> correct;
  std::optional<std::int64_t> total;
};

}  // namespace dt2it
