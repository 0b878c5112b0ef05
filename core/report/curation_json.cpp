// SPDX-License-Identifier: Apache-2.0
#include "core/report/curation_json.hpp"

namespace dt2it::report {

namespace {

void write_truth(JsonWriter& json, const char* key, const TruthCounts& counts) {
  json.key(key).begin_object().key("right").value(counts.right).key("wrong").value(counts.wrong);
  json.key("tie").value(counts.tie).key("unknown").value(counts.unknown).end_object();
}

void write_share(JsonWriter& json, const char* key, std::optional<double> share) {
  json.key(key);
  share ? json.value(*share) : json.null();
}

void write_counts(JsonWriter& json, const CurationCounts& counts, bool truth) {
  json.begin_object()
      .key("seen")
      .value(counts.seen)
      .key("kept")
      .value(counts.kept)
      .key("flipped")
      .value(counts.flipped);
  json.key("passed_flipped")
      .value(counts.passed_flipped)
      .key("open")
      .value(counts.open)
      .key("discarded")
      .value(counts.discarded);
  json.key("reasons").begin_object();
  for (const auto& [reason, count] : counts.reasons) json.key(reason).value(count);
  json.end_object();
  json.key("left_over").value(counts.left_over());
  if (truth) {
    write_truth(json, "found", counts.found);
    write_truth(json, "flips", counts.flips);
    write_truth(json, "discards", counts.discards);
    write_truth(json, "left", counts.left);
    write_share(json, "noise_before", counts.found.noise());
    write_share(json, "noise_after", counts.left.noise());
    write_share(json, "flip_precision", counts.flip_precision());
    write_share(json, "flip_recall", counts.flip_recall());
    write_share(json, "filter_precision", counts.filter_precision());
    write_share(json, "filter_recall", counts.filter_recall());
  }
  json.end_object();
}

void write_source(JsonWriter& json, const std::string& name, const Curation::Source& source,
                  bool truth) {
  json.begin_object().key("source").value(name).key("whole");
  write_counts(json, source.whole, truth);
  json.key("steps").begin_array();
  for (const CurationCounts& step : source.steps) write_counts(json, step, truth);
  json.end_array().end_object();
}

const char* name_of(FlowNode::Kind kind) {
  switch (kind) {
    case FlowNode::Kind::source: return "source";
    case FlowNode::Kind::open: return "open";
    case FlowNode::Kind::kept: return "kept";
    case FlowNode::Kind::flipped: return "flipped";
    case FlowNode::Kind::discarded: return "discarded";
    case FlowNode::Kind::data: return "data";
  }
  return "";
}

void write_flow(JsonWriter& json, const Flow& flow) {
  json.begin_object().key("title").value(flow.title).key("columns").begin_array();
  for (const std::string& column : flow.columns) json.value(column);
  json.end_array().key("nodes").begin_array();
  for (const FlowNode& node : flow.nodes)
    json.begin_object()
        .key("column")
        .value(node.column)
        .key("label")
        .value(node.label)
        .key("kind")
        .value(name_of(node.kind))
        .end_object();
  json.end_array().key("links").begin_array();
  for (const FlowLink& link : flow.links)
    json.begin_object()
        .key("from")
        .value(link.from)
        .key("to")
        .value(link.to)
        .key("source")
        .value(link.source)
        .key("count")
        .value(link.count)
        .end_object();
  json.end_array().end_object();
}

void write_curation(JsonWriter& json, const Curation& curation) {
  const bool truth = curation.truth_known;
  json.begin_object().key("stage").value(curation.stage).key("truth_known").value(truth);
  json.key("curators").begin_array();
  for (const std::string& curator : curation.curators) json.value(curator);
  json.end_array().key("total");
  write_source(json, "", curation.total(), truth);
  json.key("sources").begin_array();
  for (const auto& [name, source] : curation.sources) write_source(json, name, source, truth);
  json.end_array().key("voices").begin_array();
  for (const Voice& voice : curation.voices)
    json.begin_object().key("name").value(voice.name).key("judge").value(voice.judge).end_object();
  json.end_array().key("agreements").begin_array();
  for (const VoiceAgreement& one : curation.agreements) {
    json.begin_object()
        .key("first")
        .value(one.first)
        .key("second")
        .value(one.second)
        .key("pairs")
        .value(one.pairs)
        .key("same")
        .value(one.same);
    write_share(json, "correlation", one.correlation);
    json.end_object();
  }
  json.end_array().key("strengths").begin_array();
  for (const StrengthHistogram& one : curation.strengths) {
    json.begin_object()
        .key("source")
        .value(one.source)
        .key("voice")
        .value(one.voice)
        .key("limit")
        .value(one.limit);
    json.key("pairs")
        .value(one.pairs)
        .key("negative")
        .value(one.negative)
        .key("bins")
        .begin_array();
    for (const std::int64_t count : one.bins) json.value(count);
    json.end_array().end_object();
  }
  json.end_array().key("judges").begin_array();
  for (const auto& [name, judge] : curation.judges) {
    json.begin_object()
        .key("name")
        .value(name)
        .key("comparisons")
        .value(judge.asked)
        .key("failed")
        .value(judge.asked - judge.answered());
    json.key("ties")
        .value(judge.ties)
        .key("decided")
        .value(judge.decided())
        .key("first_place")
        .value(judge.first_ahead);
    json.key("both_orders")
        .value(judge.both_orders)
        .key("consistent")
        .value(judge.same)
        .end_object();
  }
  json.end_array()
      .key("judged")
      .value(curation.judged)
      .key("comparisons")
      .value(curation.comparisons)
      .end_object();
}

}  // namespace

void write_curations(JsonWriter& json, const RunSummary& run) {
  json.key("curations").begin_array();
  for (const Curation& curation : run.curations) write_curation(json, curation);
  json.end_array().key("flows").begin_array();
  for (const Flow& flow : curation_flows(run)) write_flow(json, flow);
  json.end_array();
}

}  // namespace dt2it::report
