// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "dt2it/export.hpp"
#include "dt2it/media.hpp"
#include "dt2it/params.hpp"
#include "dt2it/rng.hpp"
#include "dt2it/types.hpp"

namespace dt2it {

enum class LogLevel : std::uint8_t { debug, info, warning, error };

// What the host offers a component. One Context per component instance; it outlives the component.
// All members are thread-safe.
class DT2IT_API Context {
 public:
  virtual ~Context() = default;

  virtual void log(LogLevel level, std::string_view message) = 0;

  // A random stream that depends only on the experiment's seed, this component's name and `stream`:
  // ask for one stream per item (for example "noise/" + prompt.id), so that the order in which items
  // are worked on does not matter.
  virtual Rng rng(std::string_view stream) = 0;

  virtual MediaStore& media() = 0;

  // A folder for this component's own scratch files; survives an interrupted run, is not a result.
  virtual std::filesystem::path scratch() = 0;

  // The component [KIND.NAME] of the experiment, made on first use and shared within the stage.
  // Throws ConfigError when there is none.
  template <class Interface>
  std::shared_ptr<Interface> component(std::string_view name) {
    return std::static_pointer_cast<Interface>(find(Interface::kKind, name));
  }

  // A new component of `type` with these parameters, not shared (for example the backbone that a
  // checkpoint's own config.json asks for).
  template <class Interface>
  std::shared_ptr<Interface> make(std::string_view type, const Table& params) {
    return std::static_pointer_cast<Interface>(create(Interface::kKind, type, params));
  }

 protected:
  // Pointers to the interface type that owns `kind`.
  virtual std::shared_ptr<void> find(std::string_view kind, std::string_view name) = 0;
  virtual std::shared_ptr<void> create(std::string_view kind, std::string_view type,
                                       const Table& params) = 0;
};

}  // namespace dt2it
