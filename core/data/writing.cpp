// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "core/data/names.hpp"
#include "core/data/pair_marks.hpp"
#include "core/data/records.hpp"
#include "core/util/json.hpp"

namespace dt2it {
namespace {

void text(JsonWriter& json, std::string_view key, const std::string& value) {
  if (!value.empty()) json.key(key).value(value);
}

// The members of the JSON object in `extra`, without its braces.
void extra(JsonWriter& json, const std::string& object) {
  std::string_view view = object;
  const std::size_t begin = view.find('{');
  const std::size_t end = view.rfind('}');
  if (begin == std::string_view::npos || end <= begin + 1) return;
  std::string inside(view.substr(begin + 1, end - begin - 1));
  // A plugin may have laid its object out in lines; a record is one line. In JSON they are only
  // space.
  std::replace(inside.begin(), inside.end(), '\n', ' ');
  if (inside.find_first_not_of(" \t\r") != std::string::npos) json.raw(inside);
}

void write(JsonWriter& json, const Media& media) {
  json.begin_object();
  if (media.kind == Media::Kind::video) json.key("kind").value("video");
  text(json, "id", media.id);
  text(json, "mime", media.mime);
  if (media.width != 0) json.key("width").value(media.width);
  if (media.height != 0) json.key("height").value(media.height);
  text(json, "source", media.source);
  if (!media.frames.empty()) {
    json.key("frames").begin_array();
    for (const std::string& frame : media.frames) json.value(frame);
    json.end_array();
  }
  json.end_object();
}

void write(JsonWriter& json, const Prompt& prompt) {
  json.begin_object();
  text(json, "id", prompt.id);
  json.key("messages").begin_array();
  for (const Message& message : prompt.messages) {
    json.begin_object().key("role").value(name_of(kRoleNames, message.role));
    json.key("content").begin_array();
    for (const Part& part : message.content) {
      const std::string_view kind = name_of(kPartNames, part.kind);
      json.begin_object().key("type").value(kind);
      if (part.kind == Part::Kind::text) {
        json.key("text").value(part.text);
      } else {
        json.key(kind);
        write(json, part.media);
      }
      json.end_object();
    }
    json.end_array().end_object();
  }
  json.end_array();
  text(json, "reference", prompt.reference);
  text(json, "source", prompt.source);
  text(json, "domain", prompt.domain);
  extra(json, prompt.extra);
  json.end_object();
}

void write(JsonWriter& json, const Response& response) {
  json.begin_object();
  text(json, "id", response.id);
  json.key("text").value(response.text);
  text(json, "mllm", response.mllm);
  text(json, "origin", response.origin);
  if (response.status != Status::ok) json.key("status").value(to_string(response.status));
  text(json, "finish_reason", response.finish_reason);
  if (response.noised_image != Media{}) {
    json.key("noised_image");
    write(json, response.noised_image);
  }
  extra(json, response.extra);
  json.end_object();
}

}  // namespace

std::string to_json(const Media& media) {
  JsonWriter json;
  write(json, media);
  return json.text();
}

std::string to_json(const Prompt& prompt) {
  JsonWriter json;
  write(json, prompt);
  return json.text();
}

std::string to_json(const Response& response) {
  JsonWriter json;
  write(json, response);
  return json.text();
}

std::string to_json(const Score& score) {
  JsonWriter json;
  json.begin_object().key("status").value(to_string(score.status));
  if (score.ok()) json.key("overall").value(score.overall);
  if (score.stated_overall) json.key("stated_overall").value(*score.stated_overall);
  if (!score.criteria.empty()) {
    json.key("criteria").begin_array();
    for (const Criterion& criterion : score.criteria) {
      json.begin_object().key("name").value(criterion.name);
      json.key("weight").value(criterion.weight).key("score").value(criterion.score);
      text(json, "analysis", criterion.analysis);
      json.end_object();
    }
    json.end_array();
  }
  text(json, "judge_reference", score.judge_reference);
  text(json, "detail", score.detail);
  text(json, "reply", score.reply);
  json.end_object();
  return json.text();
}

std::string to_json(const PreferencePair& pair) {
  JsonWriter json;
  json.begin_object();
  text(json, "id", pair.id);
  json.key("prompt");
  write(json, pair.prompt);
  if (pair.rejected_prompt) {
    json.key("rejected_prompt");
    write(json, *pair.rejected_prompt);
  }
  json.key("chosen");
  write(json, pair.chosen);
  json.key("rejected");
  write(json, pair.rejected);
  text(json, "source", pair.source);
  text(json, "group", pair.group);
  if (pair.strength) json.key("strength").value(*pair.strength);
  if (!pair.strengths.empty()) {
    json.key("strengths").begin_array();
    for (const double one : pair.strengths) json.value(one);
    json.end_array();
  }
  extra(json, pair.extra);
  json.end_object();
  return json.text();
}

std::string to_json(const ImagePreference& preference) {
  JsonWriter json;
  json.begin_object();
  text(json, "id", preference.id);
  json.key("text").value(preference.text).key("better");
  write(json, preference.better);
  json.key("worse");
  write(json, preference.worse);
  text(json, "source", preference.source);
  extra(json, preference.extra);
  json.end_object();
  return json.text();
}

std::string to_json(const Outcome& outcome) {
  JsonWriter json;
  json.begin_object().key("row").value(outcome.row);
  text(json, "id", outcome.id);
  text(json, "group", outcome.group);
  json.key("status").value(to_string(outcome.status));
  if (outcome.status == Status::ok)
    json.key("chosen_reward")
        .value(outcome.chosen_reward)
        .key("rejected_reward")
        .value(outcome.rejected_reward);
  json.end_object();
  return json.text();
}

std::string to_json(const Metric& metric) {
  JsonWriter json;
  json.begin_object().key("name").value(metric.name).key("value").value(metric.value);
  if (metric.correct) json.key("correct").value(*metric.correct);
  if (metric.total) json.key("total").value(*metric.total);
  json.end_object();
  return json.text();
}

std::string to_json(const TrainStep& step) {
  JsonWriter json;
  json.begin_object().key("step").value(step.step).key("total_steps").value(step.total_steps);
  json.key("loss")
      .value(step.loss)
      .key("accuracy")
      .value(step.accuracy)
      .key("margin")
      .value(step.margin);
  json.key("chosen_reward")
      .value(step.chosen_reward)
      .key("rejected_reward")
      .value(step.rejected_reward);
  json.key("learning_rate")
      .value(step.learning_rate)
      .key("gradient_norm")
      .value(step.gradient_norm);
  json.key("tokens").value(step.tokens).key("pairs").value(step.pairs);
  if (!step.sources.empty()) {
    json.key("sources").begin_object();
    for (const SourceAccuracy& source : step.sources) {
      json.key(source.source).begin_object();
      json.key("pairs").value(source.pairs).key("correct").value(source.correct).end_object();
    }
    json.end_object();
  }
  if (step.held_out) {
    const HeldOutResult& held_out = *step.held_out;
    json.key("held_out")
        .begin_object()
        .key("pairs")
        .value(held_out.pairs)
        .key("loss")
        .value(held_out.loss);
    json.key("accuracy").value(held_out.accuracy).key("margin").value(held_out.margin).end_object();
  }
  json.end_object();
  return json.text();
}

std::string timing_json(const TrainStep& step) {
  JsonWriter json;
  json.begin_object().key("step").value(step.step).key("seconds").value(step.seconds);
  json.key("tokens_per_second")
      .value(step.seconds > 0 ? static_cast<double>(step.tokens) / step.seconds : 0);
  json.key("pairs_per_second")
      .value(step.seconds > 0 ? static_cast<double>(step.pairs) / step.seconds : 0);
  json.key("peak_memory_bytes").value(step.peak_memory_bytes).end_object();
  return json.text();
}

}  // namespace dt2it
