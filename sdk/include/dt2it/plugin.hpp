// SPDX-License-Identifier: Apache-2.0
#pragma once

// The door between host and plugin. A plugin library exports two C symbols:
//   dt2it_plugin_manifest   plain data, read and compared before any C++ object crosses;
//   dt2it_plugin_register   called once after that.
// DT2IT_PLUGIN writes both.

#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "dt2it/context.hpp"
#include "dt2it/params.hpp"
#include "dt2it/version.hpp"

namespace dt2it {

inline constexpr std::uint64_t kPluginMagic = 0x64743269742d7067ULL;  // "dt2it-pg"

extern "C" {
struct PluginManifest {
  std::uint64_t magic;
  std::uint32_t abi;   // DT2IT_SDK_ABI
  std::uint32_t size;  // sizeof(PluginManifest)
  char name[64];       // "scorers/pointwise"
  char version[32];    // of the plugin; part of the keys of the stages that use it
  char toolchain[64];  // compiler and standard library ABI
  char torch[32];      // version of LibTorch it was built with; empty when it uses none
};
}

#if defined(__clang__)
#define DT2IT_TOOLCHAIN_NAME "clang " __clang_version__
#else
#define DT2IT_TOOLCHAIN_NAME "gcc " __VERSION__
#endif
#define DT2IT_STRINGIFY_(x) #x
#define DT2IT_STRINGIFY(x) DT2IT_STRINGIFY_(x)
inline constexpr char kToolchain[] =
    DT2IT_TOOLCHAIN_NAME " cxx11abi=" DT2IT_STRINGIFY(_GLIBCXX_USE_CXX11_ABI);

#ifdef DT2IT_TORCH_VERSION
inline constexpr char kTorchVersion[] = DT2IT_TORCH_VERSION;
#else
inline constexpr char kTorchVersion[] = "";
#endif

constexpr PluginManifest make_manifest(std::string_view name, std::string_view version) {
  PluginManifest manifest{kPluginMagic, DT2IT_SDK_ABI, sizeof(PluginManifest), {}, {}, {}, {}};
  auto copy = [](char* to, std::size_t room, std::string_view from) {
    for (std::size_t i = 0; i < from.size() && i + 1 < room; ++i) to[i] = from[i];
  };
  copy(manifest.name, sizeof manifest.name, name);
  copy(manifest.version, sizeof manifest.version, version);
  copy(manifest.toolchain, sizeof manifest.toolchain, kToolchain);
  copy(manifest.torch, sizeof manifest.torch, kTorchVersion);
  return manifest;
}

// One component type that a plugin offers.
struct ComponentType {
  std::string kind;  // "scorers"
  std::string name;  // "pointwise": what `type` says in a configuration
  std::string help;
  std::vector<ParamSpec> params;
  // The pointer is to the kind's interface type. The Context outlives the component.
  std::function<std::shared_ptr<void>(const Table& params, Context& context)> make;
};

class DT2IT_API Registrar {
 public:
  virtual ~Registrar() = default;
  virtual void add(ComponentType type) = 0;

  // Component has a struct Params with describe(), and a constructor (const Params&, Context&).
  template <class Interface, class Component>
  void add(std::string name, std::string help) {
    using Params = typename Component::Params;
    auto schema = std::make_shared<Schema<Params>>();
    if constexpr (requires { Component::describe(*schema); })
      Component::describe(*schema);
    else
      Params::describe(*schema);
    ComponentType type;
    type.kind = Interface::kKind;
    type.name = std::move(name);
    type.help = std::move(help);
    type.params = schema->specs();
    type.make = [schema](const Table& params, Context& context) -> std::shared_ptr<void> {
      return std::static_pointer_cast<void>(
          std::shared_ptr<Interface>(std::make_shared<Component>(schema->make(params), context)));
    };
    add(std::move(type));
  }
};

}  // namespace dt2it

// DT2IT_PLUGIN("scorers/pointwise", "1.0.0", registrar) { registrar.add<...>(...); }
#define DT2IT_PLUGIN(name, version, registrar)                                                 \
  extern "C" DT2IT_API const ::dt2it::PluginManifest dt2it_plugin_manifest;                    \
  const ::dt2it::PluginManifest dt2it_plugin_manifest = ::dt2it::make_manifest(name, version); \
  extern "C" DT2IT_API void dt2it_plugin_register(::dt2it::Registrar& registrar);              \
  void dt2it_plugin_register(::dt2it::Registrar& registrar)
