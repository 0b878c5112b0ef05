// SPDX-License-Identifier: Apache-2.0
#include "core/report/data_card.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <set>

#include "core/data/records.hpp"

namespace dt2it::report {
namespace {

// As their cards say; other sources keep terms of their own.
constexpr std::pair<const char*, const char*> kLicences[] = {{"rlaif_v", "CC-BY-NC-4.0"},
                                                             {"rlaifv", "CC-BY-NC-4.0"},
                                                             {"povid", "CC-BY-4.0"},
                                                             {"wildvision", "ODC-BY"},
                                                             {"mmpr", "MIT"},
                                                             {"hpdv2", "Apache-2.0"},
                                                             {"evalmuse", "BSD-3-Clause"},
                                                             {"spavl", "CC-BY-4.0"},
                                                             {"m3cot", "CC-BY-SA-4.0"}};

std::string bare(const std::string& text) {
  std::string result;
  for (const char c : text)
    if (std::isalnum(static_cast<unsigned char>(c)))
      result += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return result;
}

std::string licence_of(const std::string& source, const std::map<std::string, std::string>& given) {
  if (const auto own = given.find(source); own != given.end()) return own->second;
  for (const auto& [name, licence] : kLicences)
    if (bare(source) == bare(name)) return licence;
  return "not known here: see the source";
}

std::string cell(std::string text) {
  std::replace(text.begin(), text.end(), '|', '/');
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text.empty() ? "-" : text;
}

void count_table(std::string& card, const char* heading,
                 const std::map<std::string, std::size_t>& counts) {
  card += fmt::format("| {} | pairs |\n| --- | --- |\n", heading);
  for (const auto& [name, count] : counts) card += fmt::format("| {} | {} |\n", cell(name), count);
  card += '\n';
}

}  // namespace

std::string data_card(const std::string& name, const std::filesystem::path& pairs,
                      const RunSummary* run, const std::map<std::string, std::string>& licences) {
  std::map<std::string, std::size_t> groups, writers, prompt_sources;
  std::map<std::string, std::size_t> sources;
  std::size_t count = 0, images = 0;
  PairReader reader(pairs);
  for (PreferencePair pair; reader.next(pair); ++count) {
    ++sources[pair.source];
    if (!pair.prompt.source.empty() && pair.prompt.source != pair.source)
      ++prompt_sources[pair.prompt.source];
    if (!pair.group.empty()) ++groups[pair.group];
    for (const Response* response : {&pair.chosen, &pair.rejected})
      if (!response->mllm.empty()) ++writers[response->mllm];
    for (const Message& message : pair.prompt.messages)
      for (const Part& part : message.content) images += part.kind != Part::Kind::text;
  }
  std::string card = fmt::format(
      "# {}\n\n{} preference pairs for multimodal reward models, {} images in their prompts.\n\n",
      name, count, images);
  if (run) {
    card += fmt::format("Made by dt2it {} from the experiment `{}` (profile {}, seed {}){}{}\n\n",
                        run->version, run->name, run->profile, run->seed,
                        run->about.empty() ? "." : ": ", run->about);
  }
  card += "## Sources\n\n| source | pairs | licence |\n| --- | --- | --- |\n";
  for (const auto& [source, number] : sources)
    card += fmt::format(
        "| {} | {} | {} |\n", cell(source), number,
        cell(source == "distil" ? "of the sources of its prompts" : licence_of(source, licences)));
  for (const auto& [source, number] : prompt_sources)
    card += fmt::format("| prompts of {} | {} | {} |\n", cell(source), number,
                        cell(licence_of(source, licences)));
  card += '\n';
  if (!groups.empty()) count_table(card, "group", groups);
  if (!writers.empty()) {
    card += "## Who wrote the responses\n\n";
    count_table(card, "model", writers);
  }
  if (run) {
    std::map<std::string, std::set<std::string>> judges;
    double cost = 0;
    std::int64_t calls = 0, tokens = 0;
    card += "## How they were made\n\n| stage | left | dropped |\n| --- | --- | --- |\n";
    for (const StageSummary& stage : run->stages) {
      for (const FunnelStep& step : stage.funnel) {
        std::string dropped;
        for (const auto& [reason, number] : step.dropped)
          dropped += fmt::format("{}{} {}", dropped.empty() ? "" : ", ", number, reason);
        card += fmt::format("| {}: {} | {} | {} |\n", cell(stage.name), cell(step.name), step.count,
                            cell(dropped));
      }
      if (!stage.cost) continue;
      calls += stage.cost->calls;
      tokens += stage.cost->prompt_tokens + stage.cost->completion_tokens;
      for (const LedgerLine& line : stage.cost->ledger) {
        cost += line.cost;
        judges[line.purpose].insert(line.model.empty() ? line.mllm : line.model);
      }
    }
    card += fmt::format(
        "\n{} calls of models, {} tokens, {:.2f} in the currency of the prices given.\n\n", calls,
        tokens, cost);
    if (!judges.empty()) {
      card += "| purpose of calls | models |\n| --- | --- |\n";
      for (const auto& [purpose, models] : judges)
        card += fmt::format("| {} | {} |\n", cell(purpose),
                            cell(fmt::format("{}", fmt::join(models, ", "))));
      card += '\n';
    }
  }
  card +=
      "Labels are opinions of models. The images and questions keep the terms of their sources.\n";
  return card;
}

}  // namespace dt2it::report
