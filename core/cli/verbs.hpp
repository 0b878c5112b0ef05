// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <boost/program_options.hpp>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/config/experiment.hpp"
#include "core/plugin/registry.hpp"
#include "core/run/stage.hpp"

// Program_options reads a path by >>, which ends at a blank. Found by way of boost::any.
namespace boost {
void validate(any& value, const std::vector<std::string>& texts, std::filesystem::path* /*type*/,
              int);
}

// One function per verb of the command line, in a file of its own. Each parses its own arguments, prints
// its help for --help, and returns the exit code.
namespace dt2it::cli {

using Arguments = std::vector<std::string>;

int run(const Arguments& arguments);
int check(const Arguments& arguments);
int show(const Arguments& arguments);
int plan(const Arguments& arguments);
int plugins(const Arguments& arguments);
int explain(const Arguments& arguments);
int export_pairs(const Arguments& arguments);
int evaluate(const Arguments& arguments);
int score(const Arguments& arguments);
int serve(const Arguments& arguments);
int train(const Arguments& arguments);
int doctor(const Arguments& arguments);
int report(const Arguments& arguments);
int clean(const Arguments& arguments);
int calls(const Arguments& arguments);
int convert(const Arguments& arguments);
int completion(const Arguments& arguments);

struct Verb {
  const char* name;
  const char* help;
  int (*enter)(const Arguments&);
};
// All of them, in the order of the help.
std::span<const Verb> verbs();

// ---- shared by the verbs

// What --help of a verb says, as data.
struct VerbHelp {
  struct Option {
    std::string name;      // without dashes
    std::string letter;    // short form, without dash; may be empty
    std::string argument;  // empty: it takes none
    std::string help;
  };
  std::string usage;
  std::vector<Option> options;
  bool words = false;  // it takes words without a dash
};
VerbHelp help_of(const Verb& verb);

// Options that every verb that reads experiments has.
struct CommonOptions {
  std::vector<std::string> plugin_path;
  std::string profile = "mini";
  std::vector<std::string> settings;
  std::string seeds;  // "0,1,2": instead of what the experiments say; empty: as they say
  std::filesystem::path runs = "runs";
};
void add_common(boost::program_options::options_description& options, CommonOptions& common);

// Parses; prints help and returns false when --help is given. `positional` is the name of the option
// that takes the words without a dash ("" for none).
bool parse(const Arguments& arguments, boost::program_options::options_description& options,
           const std::string& positional, const std::string& usage);

// Set by the first Ctrl-C (or SIGTERM) from now on, with a line that says so; the second ends the process.
const std::atomic<bool>& catch_interrupts();

// The command as a shell reads it back.
std::string command_line(const std::string& verb, const Arguments& arguments);

// A folder that is to be written without what would keep its name from being added to: "out/" is "out", "." the folder it stands
// for. What is made beside it and renamed into place would lie in it otherwise.
std::filesystem::path output_folder(const std::filesystem::path& given);

// A component from the command line: TYPE or TYPE:ARG, ARG being the parameter that its plugin marks so, and settings
// "key=value" (the value in TOML syntax, else taken as a string). Checked as in a file, defaults filled in. Throws
// ConfigError with all problems.
ComponentConfig component_of(const Catalog& catalog, const std::string& kind,
                             const std::string& name, const std::string& text,
                             const std::vector<std::string>& settings);
// "key=" and the text as a TOML string.
std::string text_setting(const std::string& key, const std::string& text);

// The plugins and stage types at hand.
struct Installation {
  explicit Installation(const CommonOptions& common);
  StageTypes stages;
  PluginRegistry registry;
};

// Where the named profiles are: configs/profiles of the experiment's folder or one above it, else of the
// working folder, else the installed ones.
std::filesystem::path find_profiles(const std::filesystem::path& experiment);

// Loads and checks; a file that only lists rows gives those, one with several seeds as many experiments. Throws ConfigError with all problems.
std::vector<Experiment> load_all(const std::vector<std::string>& files, const CommonOptions& common,
                                 const Catalog& catalog);

// Prints the tables of runs and writes their page; `html` empty: in the only run's folder, or in the runs
// folder when there are several. `command` is what makes the runs again; empty: made up from their names.
void print_reports(const std::vector<std::filesystem::path>& folders, std::filesystem::path html,
                   const std::string& command, std::ostream& out);

}  // namespace dt2it::cli
