/* Theme, filter, links to a budget, commands and copying them. Nothing here draws a number. */
"use strict";
(function () {
  var root = document.documentElement;
  var themes = ["system", "light", "dark"];

  function stored() {
    try { return localStorage.getItem("gauntlet-theme"); } catch (error) { return null; }
  }
  function apply(theme) {
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    else delete root.dataset.theme;
    var button = document.getElementById("theme");
    if (button) {
      button.setAttribute("aria-label", "Theme: " + theme);
      button.textContent = { system: "◐", light: "○", dark: "●" }[theme];
    }
  }
  var theme = themes.indexOf(stored()) > 0 ? stored() : "system";
  apply(theme); /* before the first paint: this script is not deferred */

  function themeButton() {
    var button = document.getElementById("theme");
    button.hidden = false;
    apply(theme);
    button.addEventListener("click", function () {
      theme = themes[(themes.indexOf(theme) + 1) % themes.length];
      try { localStorage.setItem("gauntlet-theme", theme); } catch (error) { /* private mode */ }
      apply(theme);
    });
  }

  /* A long row of matrices scrolls in itself; the present one should be in view. */
  function nav() {
    var here = document.querySelector(".top nav [aria-current]");
    if (here) here.parentNode.scrollLeft = here.offsetLeft - here.parentNode.offsetLeft - 40;
  }

  function filter() {
    var field = document.getElementById("filter");
    if (!field) return;
    field.closest("label").hidden = false;
    field.addEventListener("input", function () {
      var wanted = field.value.trim().toLowerCase(), said = "";
      document.querySelectorAll(".rank tbody tr:not(.below), .matrix tbody tr").forEach(function (row) {
        row.hidden = row.querySelector("th").textContent.toLowerCase().indexOf(wanted) < 0;
      });
      document.querySelectorAll(".rank").forEach(function (table) {
        if (!wanted || table.offsetParent === null) return;
        var rows = table.querySelectorAll("tbody tr:not(.below)");
        said = table.querySelectorAll("tbody tr:not(.below):not([hidden])").length + " of " + rows.length + " defences shown";
      });
      document.getElementById("shown").textContent = said;
    });
  }

  /* #b=linf-8-255&v=small-cnn chooses what is shown; a hash without "=" is an anchor. */
  function choose() {
    if (location.hash.indexOf("=") < 0) return;
    new URLSearchParams(location.hash.slice(1)).forEach(function (value, name) {
      document.querySelectorAll("input[type=radio]").forEach(function (input) {
        if (input.name === name && input.value === value) input.checked = true;
      });
    });
  }
  function links() {
    choose();
    addEventListener("hashchange", choose);
    document.querySelectorAll("input[type=radio]").forEach(function (input) {
      input.addEventListener("change", function () {
        var state = new URLSearchParams();
        document.querySelectorAll("input[type=radio]:checked").forEach(function (chosen) {
          if (!chosen.defaultChecked) state.set(chosen.name, chosen.value);
        });
        history.replaceState(null, "", state.toString() ? "#" + state : location.pathname);
      });
    });
  }

  /* A command that names its page gets the page's address, which is not known when it is built. */
  function addresses() {
    var page = location.href.split("#")[0].replace(/'/g, "%27");
    document.querySelectorAll("[data-result]").forEach(function (command) {
      command.querySelector("code").textContent = "gauntlet reproduce '" + page + "#" + command.id + "'";
    });
  }

  function copying() {
    if (!navigator.clipboard) return;
    document.querySelectorAll(".command").forEach(function (command) {
      var button = document.createElement("button");
      button.type = "button";
      button.textContent = "Copy";
      button.addEventListener("click", function () {
        navigator.clipboard.writeText(command.querySelector("code").textContent).then(function () {
          button.textContent = "Copied";
        });
      });
      command.appendChild(button);
    });
  }

  addEventListener("DOMContentLoaded", function () { themeButton(); nav(); filter(); links(); addresses(); copying(); });
})();
