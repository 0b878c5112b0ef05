// SPDX-License-Identifier: Apache-2.0
// dt2it-describe PLUGIN.so OUT.json: writes a plugin's manifest, components and parameters as JSON.
// Run once after a plugin is linked; the host reads the result instead of loading the library.
#include <dlfcn.h>

#include <cstdio>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>

#include "dt2it/handshake.hpp"
#include "dt2it/plugin.hpp"

namespace {

using namespace dt2it;

void write(std::ostream& out, std::string_view text) {
  out << '"';
  for (unsigned char c : text) {
    if (c == '"' || c == '\\') {
      out << '\\' << c;
    } else if (c < 0x20) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04x", c);
      out << escape;
    } else {
      out << c;
    }
  }
  out << '"';
}

// Finite numbers only; shortest form that reads back the same.
void write(std::ostream& out, double number) {
  char text[32];
  for (int digits = 6; digits <= 17; ++digits) {
    std::snprintf(text, sizeof text, "%.*g", digits, number);
    if (std::strtod(text, nullptr) == number) break;
  }
  std::string_view view = text;
  out << view;
  if (view.find_first_of(".en") == std::string_view::npos)
    out << ".0";  // stays a number, not an integer
}

void write(std::ostream& out, const Value& value) {
  struct Visitor {
    std::ostream& out;
    void operator()(std::monostate) const { out << "null"; }
    void operator()(bool b) const { out << (b ? "true" : "false"); }
    void operator()(std::int64_t i) const { out << i; }
    void operator()(double d) const { write(out, d); }
    void operator()(const std::string& s) const { write(out, std::string_view(s)); }
    void operator()(const List& list) const {
      out << '[';
      for (std::size_t i = 0; i < list.size(); ++i) {
        if (i) out << ',';
        write(out, list[i]);
      }
      out << ']';
    }
    void operator()(const Table& table) const {
      out << '{';
      bool first = true;
      for (const auto& [key, item] : table) {
        if (!first) out << ',';
        first = false;
        write(out, std::string_view(key));
        out << ':';
        write(out, item);
      }
      out << '}';
    }
  };
  std::visit(Visitor{out}, value.data);
}

const char* name_of(ParamType type) {
  switch (type) {
    case ParamType::boolean: return "boolean";
    case ParamType::integer: return "integer";
    case ParamType::number: return "number";
    case ParamType::string: return "string";
    case ParamType::table: return "table";
  }
  return "";
}

void write(std::ostream& out, const ParamSpec& spec) {
  out << "{\"name\":";
  write(out, std::string_view(spec.name));
  out << ",\"type\":\"" << name_of(spec.type) << '"';
  if (spec.list) out << ",\"list\":true";
  if (spec.type == ParamType::table) out << ",\"table_of\":\"" << name_of(spec.table_of) << '"';
  if (spec.required) out << ",\"required\":true";
  if (spec.argument) out << ",\"argument\":true";
  if (spec.path) out << ",\"path\":true";
  if (!spec.component_kind.empty()) {
    out << ",\"component_kind\":";
    write(out, std::string_view(spec.component_kind));
  }
  out << ",\"default\":";
  write(out, spec.fallback);
  if (spec.min) out << ",\"min\":", write(out, *spec.min);
  if (spec.max) out << ",\"max\":", write(out, *spec.max);
  if (!spec.choices.empty()) {
    out << ",\"choices\":[";
    for (std::size_t i = 0; i < spec.choices.size(); ++i) {
      if (i) out << ',';
      write(out, std::string_view(spec.choices[i]));
    }
    out << ']';
  }
  out << ",\"help\":";
  write(out, std::string_view(spec.help));
  out << '}';
}

class Describer final : public Registrar {
 public:
  using Registrar::add;
  explicit Describer(std::ostream& out) : out_(out) {}
  void add(ComponentType type) override {
    if (count_++) out_ << ',';
    out_ << "\n {\"kind\":";
    write(out_, std::string_view(type.kind));
    out_ << ",\"name\":";
    write(out_, std::string_view(type.name));
    out_ << ",\"help\":";
    write(out_, std::string_view(type.help));
    out_ << ",\"params\":[";
    for (std::size_t i = 0; i < type.params.size(); ++i) {
      if (type.params[i].help.empty())
        throw PluginError("parameter '" + type.params[i].name + "' of " + type.kind + "/" +
                          type.name + " has no help text");
      out_ << (i ? ",\n  " : "\n  ");
      write(out_, type.params[i]);
    }
    out_ << "]}";
  }

 private:
  std::ostream& out_;
  int count_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: dt2it-describe PLUGIN.so OUT.json\n";
    return 2;
  }
  void* library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    std::cerr << "dt2it-describe: " << dlerror() << '\n';
    return 3;
  }
  const auto* manifest =
      static_cast<const PluginManifest*>(dlsym(library, "dt2it_plugin_manifest"));
  auto enter = reinterpret_cast<void (*)(Registrar&)>(dlsym(library, "dt2it_plugin_register"));
  if (!manifest || !enter) {
    std::cerr << "dt2it-describe: " << argv[1] << ": it is no dt2it plugin (use DT2IT_PLUGIN)\n";
    return 3;
  }
  if (const std::string problem = manifest_problem(*manifest); !problem.empty()) {
    std::cerr << "dt2it-describe: " << argv[1] << ": " << problem << '\n';
    return 3;
  }
  try {
    std::ostringstream out;
    out << "{\"name\":";
    write(out, manifest_text(manifest->name));
    out << ",\"version\":";
    write(out, manifest_text(manifest->version));
    out << ",\"abi\":" << manifest->abi << ",\"toolchain\":";
    write(out, manifest_text(manifest->toolchain));
    out << ",\"torch\":";
    write(out, manifest_text(manifest->torch));
    out << ",\"components\":[";
    Describer describer(out);
    enter(describer);
    out << "]}\n";
    std::ofstream file(argv[2], std::ios::binary);
    file << out.str();
    file.flush();
    if (!file) throw Error(std::string("cannot write ") + argv[2]);
  } catch (const std::exception& error) {
    std::cerr << "dt2it-describe: " << argv[1] << ": " << error.what() << '\n';
    return 3;
  }
  return 0;
}
