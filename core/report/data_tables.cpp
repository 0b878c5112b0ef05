// SPDX-License-Identifier: Apache-2.0
// Tables of what data are made of and how far their labels can be told by style.
#include <fmt/format.h>

#include <set>

#include "core/report/json_read.hpp"
#include "core/report/table_row.hpp"
#include "core/run/layout.hpp"

namespace dt2it::report {
namespace {

using simdjson::dom::element;

std::optional<double> share(const element& from, std::string_view key) {
  double number = 0;
  return from[key].get(number) ? std::nullopt : std::optional(number);
}

}  // namespace

TextTable bias_table(std::span<const RunSummary> runs) {
  TextTable table;
  table.title = "What style tells of the labels";
  table.header = {"Pairs",       "Count",         "Length",      "Markdown",
                  "First words", "Style",         "Style, 95 %", "Writer",
                  "Longer",      "More Markdown", "Earlier",     "Scorers agree"};
  std::set<std::filesystem::path> seen;  // runs share stages
  for (const RunSummary& run : runs)
    for (const StageSummary& stage : run.stages) {
      simdjson::dom::parser parser;
      element root;
      if (stage.type != "bias" || !seen.insert(stage.folder).second ||
          !read_json(stage.folder / layout::kBias, parser, root))
        continue;
      each(root, "sets", [&](const element& set) {
        each(set, "sources", [&](const element& source) {
          const std::string name = text_of(source, "source");
          TableRow row;
          row.text((runs.size() > 1 ? run.label + " / " : "") + text_of(set, "stage") +
                   (name.empty() ? "" : ": " + name));
          row.count(integer_of(source, "pairs"));
          element told, family;
          if (source["told_by"].get(told)) return;
          for (const char* one : {"length", "markdown", "first_words", "style"}) {
            if (told[one].get(family)) return;
            row.share(share(family, "accuracy"));
          }
          row.text(percent(number_of(family, "low")) + " - " + percent(number_of(family, "high")));
          if (told["writer"].get(family)) return;
          row.share(share(family, "accuracy"));
          for (const char* one :
               {"longer_chosen", "more_markdown_chosen", "earlier_chosen", "scorers_agree"})
            row.share(share(source, one));
          row.into(table);
        });
      });
    }
  return table;
}

TextTable mixture_table(std::span<const RunSummary> runs) {
  TextTable table;
  table.title = "Where the prompts come from";
  table.header = {"Source", "Table 9", "Domain", "Read", "Kept", "Dropped"};
  std::set<std::filesystem::path> seen;
  for (const RunSummary& run : runs)
    for (const StageSummary& stage : run.stages) {
      simdjson::dom::parser parser;
      element root;
      if (stage.type != "collect" || !seen.insert(stage.folder).second ||
          !read_json(stage.folder / layout::kMixture, parser, root))
        continue;
      each(root, "sources", [&](const element& source) {
        std::string dropped;
        each_member(source, "dropped", [&](std::string_view reason, const element& count) {
          dropped +=
              fmt::format("{}{} {}", dropped.empty() ? "" : ", ", simdjson::minify(count), reason);
        });
        TableRow row;
        row.text(text_of(source, "source"))
            .text(text_of(source, "table9"))
            .text(text_of(source, "domain"));
        row.count(integer_of(source, "read")).count(integer_of(source, "kept")).text(dropped);
        row.into(table);
      });
      std::string absent;
      each(root, "absent", [&](const element& name) {
        std::string_view text;
        if (!name.get(text)) absent += (absent.empty() ? "" : ", ") + std::string(text);
      });
      bool any = false;
      for (const auto& row : table.rows) any |= !row[1].empty();
      if (any && !absent.empty())
        table.notes.push_back("Of the paper's Table 9 absent: " + absent + ".");
    }
  return table;
}

}  // namespace dt2it::report
