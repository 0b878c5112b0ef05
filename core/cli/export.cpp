// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <map>
#include <optional>

#include "core/cli/verbs.hpp"
#include "core/data/records.hpp"
#include "core/report/data_card.hpp"
#include "core/run/layout.hpp"
#include "core/run/runner.hpp"
#include "core/run/scope.hpp"
#include "dt2it/error.hpp"
#include "dt2it/exporter.hpp"

namespace dt2it::cli {

namespace po = boost::program_options;
namespace fs = std::filesystem;

namespace {

fs::path pairs_of(const fs::path& input) {
  const fs::path file = fs::is_directory(input) ? input / layout::kPairs : input;
  if (!fs::is_regular_file(file))
    throw DataError(input.string() +
                    ": no pairs.jsonl (allowed: the folder of a stage, such as "
                    "runs/NAME/stages/distil, or a file of pairs)");
  return file;
}

// The run that runs/NAME/stages/STAGE/pairs.jsonl belongs to.
std::optional<report::RunSummary> run_of(const fs::path& pairs) {
  const fs::path folder =
      fs::absolute(pairs).lexically_normal().parent_path().parent_path().parent_path();
  if (!layout::is_run(folder)) return std::nullopt;
  return report::load_run(folder);
}

fs::path media_of(const fs::path& pairs) {
  for (const fs::path& start :
       {fs::absolute(pairs).lexically_normal(), fs::weakly_canonical(pairs)})
    if (const fs::path runs = layout::nearest_with(start.parent_path(), layout::kMedia);
        !runs.empty())
      return runs / layout::kMedia;
  return "runs/.media";
}

}  // namespace

int export_pairs(const Arguments& arguments) {
  CommonOptions common;
  std::vector<std::string> words, licence_texts;
  std::string name = "dt2it_pairs";
  fs::path out, media_folder;
  po::options_description options("options");
  options.add_options()("words", po::value(&words), "form and pairs")(
      "out,o", po::value(&out)->required()->value_name("DIR"),
      "folder to write; must not be there, or be empty")(
      "name", po::value(&name)->value_name("NAME"), "name of the data set (default: dt2it_pairs)")(
      "licence", po::value(&licence_texts)->composing()->value_name("SOURCE=TEXT"),
      "for the data card; may be given often")(
      "media-store", po::value(&media_folder)->value_name("DIR"),
      "where the images are (default: .media of the runs folder)")(
      "plugin-path", po::value(&common.plugin_path)->composing()->value_name("DIR"),
      "look for plugins here first; may be given often");
  if (!parse(arguments, options, "words",
             "usage: dt2it export FORM PAIRS --out DIR [options]\n\n"
             "FORM: llama_factory, ms_swift, mmpr, trl (Parquet; the same as hf), or "
             "EXPORTER[:ARG] of another plugin.\n"
             "PAIRS: the folder of a stage (runs/NAME/stages/distil) or a pairs.jsonl."))
    return 0;
  out = output_folder(out);
  if (words.size() != 2)
    throw ConfigError("dt2it export: a form and one input are expected (see dt2it export --help)");
  if (name.empty() ||
      name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") !=
          std::string::npos ||
      name.front() == '.')
    throw ConfigError("--name " + name + ": not a name (allowed: letters, digits, _ - .)");
  std::map<std::string, std::string> licences;
  for (const std::string& text : licence_texts) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0)
      throw ConfigError("--licence " + text + ": not understood (allowed: SOURCE=TEXT)");
    licences[text.substr(0, equals)] = text.substr(equals + 1);
  }
  const fs::path pairs = pairs_of(words[1]);
  if (fs::exists(out) && !(fs::is_directory(out) && fs::is_empty(out)))
    throw ConfigError(out.string() + ": is there already and not empty");

  std::string exporter = words[0];
  if (exporter == "trl" || exporter == "hf") exporter = "parquet";
  for (const char* form : {"llama_factory", "ms_swift", "mmpr"})
    if (exporter == form) exporter = std::string("conversations:") + form;
  Installation installation(common);
  const ComponentConfig component =
      component_of(installation.registry, Exporter::kKind, "it", exporter, {});
  HostMedia media(installation.registry, media_folder.empty() ? media_of(pairs) : media_folder);
  const std::optional<report::RunSummary> run = run_of(pairs);
  const std::string card = report::data_card(name, pairs, run ? &*run : nullptr, licences);

  // Whole or not at all.
  const fs::path part =
      fs::absolute(out).lexically_normal().string() + fmt::format(".part-{}", getpid());
  struct Part {
    fs::path path;
    ~Part() {
      std::error_code ignored;
      if (!path.empty()) fs::remove_all(path, ignored);
    }
  } removed{part};
  fs::create_directories(part);
  StageScope scope(installation.registry, {component}, media.store(), 0, part.string() + ".scratch",
                   [](LogLevel level, std::string_view text) {
                     if (level >= LogLevel::warning) std::cerr << text << '\n';
                   });
  PairReader stream(pairs);
  const ExportCounts counts =
      scope.context().component<Exporter>("it")->write(stream, part, {name, card});
  if (fs::exists(out)) fs::remove(out);
  fs::rename(part, out);
  removed.path.clear();
  std::cout << fmt::format("{}: {} pairs\n", out.string(), counts.written);
  for (const auto& [reason, count] : counts.left_out)
    std::cout << fmt::format("  left out: {} ({})\n", count, reason);
  return 0;
}

}  // namespace dt2it::cli
