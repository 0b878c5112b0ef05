// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <iostream>

#include "core/cli/verbs.hpp"
#include "core/util/program_version.hpp"
#include "dt2it/error.hpp"

namespace dt2it::cli {

namespace po = boost::program_options;

namespace {

std::string bash_completion() {
  std::string names, cases;
  for (const Verb& verb : verbs()) {
    names += fmt::format("{}{}", names.empty() ? "" : " ", verb.name);
    std::string options;
    for (const VerbHelp::Option& option : help_of(verb).options)
      options += fmt::format(" --{}", option.name);
    cases += fmt::format("    {}) options='{}' ;;\n", verb.name,
                         options.substr(options.empty() ? 0 : 1));
  }
  return fmt::format(
      "# Completion of dt2it {} for bash (and zsh after `autoload bashcompinit; bashcompinit`).\n"
      "_dt2it() {{\n"
      "  local word=${{COMP_WORDS[COMP_CWORD]}} options=\n"
      "  if [ \"$COMP_CWORD\" = 1 ]; then\n"
      "    COMPREPLY=($(compgen -W '{} --help --version' -- \"$word\"))\n"
      "    return\n"
      "  fi\n"
      "  case ${{COMP_WORDS[1]}} in\n{}  esac\n"
      "  case $word in\n"
      "    -*) COMPREPLY=($(compgen -W \"$options\" -- \"$word\")) ;;\n"
      "    *) COMPREPLY=() ;;  # files, by -o default\n"
      "  esac\n"
      "}}\n"
      "complete -o default -F _dt2it dt2it\n",
      program_version(), names, cases);
}

// Text as troff takes it.
std::string troff(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if ((out.empty() || out.back() == '\n') && (c == '.' || c == '\'')) out += "\\&";
    if (c == '\\')
      out += "\\e";
    else if (c == '-')
      out += "\\-";
    else
      out += c;
  }
  return out;
}

std::string manual_page() {
  std::string page = fmt::format(
      ".TH DT2IT 1 \"\" \"dt2it {}\" \"User Commands\"\n.SH NAME\ndt2it \\- debiased preference "
      "data and multimodal reward models\n"
      ".SH SYNOPSIS\n.B dt2it\n.I VERB\n[options]\n.SH VERBS\n",
      troff(program_version()));
  for (const Verb& verb : verbs()) {
    const VerbHelp help = help_of(verb);
    page += fmt::format(".SS {}\n{}.\n.PP\n.nf\n{}\n.fi\n", verb.name, troff(verb.help),
                        troff(help.usage));
    for (const VerbHelp::Option& option : help.options)
      page += fmt::format(
          ".TP\n\\fB{}\\-\\-{}\\fR{}\n{}\n",
          option.letter.empty() ? "" : fmt::format("\\-{}\\fR, \\fB", option.letter),
          troff(option.name),
          option.argument.empty() ? "" : fmt::format(" \\fI{}\\fR", troff(option.argument)),
          troff(option.help));
  }
  return page +
         ".SH EXIT STATUS\n0 fine, 1 failed, 2 wrong configuration or arguments, 3 plugin, 4 data, "
         "5 model, 130 interrupted.\n"
         ".SH ENVIRONMENT\n.TP\nDT2IT_PLUGIN_PATH\nFolders with plugins, before those of the "
         "installation; colons between them.\n";
}

}  // namespace

int completion(const Arguments& arguments) {
  std::string what;
  po::options_description words("options");
  words.add_options()("what", po::value(&what), "bash, or man");
  if (!parse(arguments, words, "what",
             "usage: dt2it completion bash > /etc/bash_completion.d/dt2it\n       dt2it completion "
             "man > dt2it.1\n\n"
             "Prints the completion of this program's verbs and options for a shell, or its manual "
             "page."))
    return 0;
  if (what == "bash")
    std::cout << bash_completion();
  else if (what == "man")
    std::cout << manual_page();
  else
    throw ConfigError(fmt::format("dt2it completion: '{}' is not known (bash, man)", what));
  return 0;
}

}  // namespace dt2it::cli
