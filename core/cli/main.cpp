// SPDX-License-Identifier: Apache-2.0
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdio>
#include <exception>
#include <functional>
#include <iostream>
#include <map>

#include "build_id.hpp"
#include "core/cli/verbs.hpp"
#include "core/util/program_version.hpp"
#include "dt2it/error.hpp"

namespace {

using namespace dt2it;

constexpr cli::Verb kVerbs[] = {
    {"run", "run experiments; finished stages are not run again", cli::run},
    {"check", "check experiment files under their profiles, all problems at once", cli::check},
    {"show", "print an experiment as resolved", cli::show},
    {"plan", "print the stages of experiments and what is done already", cli::plan},
    {"plugins", "list plugins, or explain one: KIND or KIND/NAME", cli::plugins},
    {"evaluate", "score a benchmark with a reward model, without an experiment file",
     cli::evaluate},
    {"score", "give the pairs or candidates of a file their rewards", cli::score},
    {"serve", "answer requests for rewards over HTTP", cli::serve},
    {"train", "train a model on the pairs of a file, in one process or several", cli::train},
    {"doctor",
     "what this machine lacks; what a checkpoint folder is and which hidden state its reward head "
     "reads",
     cli::doctor},
    {"report", "print the tables of runs and write report.html", cli::report},
    {"export", "write pairs for LLaMA-Factory, TRL, Hugging Face datasets, ms-swift, InternVL",
     cli::export_pairs},
    {"explain", "print every candidate, score, decision and call behind a pair", cli::explain},
    {"calls", "list, show, export, import or remove stored answers of models", cli::calls},
    {"convert", "write a checkpoint in another head layout or type, or with its adapter merged",
     cli::convert},
    {"completion", "print completion for a shell, or the manual page", cli::completion},
    {"clean", "remove unfinished work and stages that no run uses", cli::clean},
};

void print_help() {
  std::printf(
      "dt2it %s: debiased preference data and multimodal reward models\n\n"
      "usage: dt2it VERB [options]        dt2it VERB --help explains one\n\n",
      program_version().c_str());
  for (const cli::Verb& verb : kVerbs) std::printf("  %-10s %s\n", verb.name, verb.help);
  std::printf(
      "\nexit codes: 0 fine, 1 failed, 2 wrong configuration or arguments, 3 plugin, 4 data, 5 "
      "model, "
      "130 interrupted\n");
}

}  // namespace

std::span<const dt2it::cli::Verb> dt2it::cli::verbs() { return kVerbs; }

int main(int argc, char** argv) {
  if (*DT2IT_BUILD_ID) program_version() += std::string("+") + DT2IT_BUILD_ID;
  const std::string name = argc > 1 ? argv[1] : "--help";
  if (name == "--help" || name == "-h" || name == "help") return print_help(), 0;
  if (name == "--version") return std::printf("dt2it %s\n", program_version().c_str()), 0;
  spdlog::set_default_logger(spdlog::stderr_logger_mt("dt2it"));  // standard output is for results
  spdlog::set_pattern("%H:%M:%S %l: %v");
  for (const cli::Verb& verb : kVerbs) {
    if (name != verb.name) continue;
    try {
      return verb.enter(cli::Arguments(argv + 2, argv + argc));
    } catch (const Interrupted&) {
      return 130;  // run has said how to go on
    } catch (const ConfigError& error) {
      std::cerr << error.what() << '\n';
      return 2;
    } catch (const boost::program_options::error& error) {
      std::cerr << "dt2it " << name << ": " << error.what() << " (see dt2it " << name
                << " --help)\n";
      return 2;
    } catch (const PluginError& error) {
      std::cerr << error.what() << '\n';
      return 3;
    } catch (const DataError& error) {
      std::cerr << error.what() << '\n';
      return 4;
    } catch (const ModelError& error) {
      std::cerr << error.what() << '\n';
      return 5;
    } catch (const std::exception& error) {
      std::cerr << "dt2it " << name << ": " << error.what() << '\n';
      return 1;
    }
  }
  std::cerr << "dt2it: no verb '" << name << "' (see dt2it --help)\n";
  return 2;
}
