"use strict";
// The fronts: a limit (slider, button, or a point under the pointer) shows what each recipe reaches
// within it, with which architecture, and the command that finds it. Without this script the
// drawings read the same. Names are set as text, never as markup.
{
  const digits = (value) => Number(value.toPrecision(4));
  const figures = [...document.querySelectorAll("figure.front")];

  const prepare = (figure) => {
    const data = JSON.parse(figure.querySelector("script").textContent);
    const svg = figure.querySelector(".drawing svg");
    const cursor = svg.querySelector(".cursor");
    const here = svg.querySelector(".here");
    const slider = figure.querySelector("input");
    const output = figure.querySelector("output");
    const rows = [...figure.querySelectorAll(".readout tbody tr")];
    const command = figure.querySelector(".command");
    const place = ([low, high, start, end], value) =>
      start + ((value - low) / (high - low)) * (end - start);
    const value = ([low, high, start, end], at) =>
      low + ((at - start) / (end - start)) * (high - low);
    let chosen = null;

    const reached = (line, limit) => line.steps.filter((step) => step.ms <= limit).at(-1);

    const show = (limit) => {
      const found = data.lines.map((line) => reached(line, limit));
      const best = Math.max(...found.map((step) => (step ? step.top1 : -Infinity)));
      slider.value = limit;
      output.textContent = `${limit} ms`;
      const x = place(data.x, limit);
      cursor.setAttribute("d", `M${x} ${data.y[2]}V${data.y[3]}`);
      cursor.removeAttribute("hidden");
      let selected = chosen;
      rows.forEach((row, index) => {
        const step = found[index];
        row.classList.toggle("first", Boolean(step) && step.top1 === best);
        if (selected === null && step && step.top1 === best) selected = index;
        row.cells[1].textContent = step ? step.text : "–";
        const parts = step ? [step.chosen[0][1], `${digits(step.chosen[0][2])} ms`] : ["none fits"];
        row.cells[2].replaceChildren(...parts.flatMap((text, part) => {
          const span = document.createElement("span");
          span.textContent = text;
          span.classList.toggle("whole", text.length < 20);
          return part ? [" ", span] : [span];
        }));
      });
      rows.forEach((row, index) => row.classList.toggle("selected", index === selected));
      const step = selected === null ? undefined : found[selected];
      command.hidden = !step;
      if (step) {
        command.firstElementChild.textContent = `${data.lines[selected].commands[0]} ${limit}`;
        here.setAttribute("cx", place(data.x, step.ms));
        here.setAttribute("cy", place(data.y, step.top1));
        here.removeAttribute("hidden");
      } else {
        here.setAttribute("hidden", "");
      }
    };

    const above = (ms) => {
      const limit = digits(ms);
      return limit >= ms ? limit : digits(ms * 1.0005);
    };

    // The point that is nearest to the pointer, as the eye sees it.
    const nearest = (event) => {
      const box = svg.getBoundingClientRect();
      const scale = svg.viewBox.baseVal.width / box.width;
      const [x, y] = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
      let found = null;
      data.lines.forEach((line, index) => {
        for (const step of line.steps) {
          const away = Math.hypot(place(data.x, step.ms) - x, place(data.y, step.top1) - y);
          if (away < (found ? found.away : 24)) found = { index, step, away };
        }
      });
      return found ? { ...found, x } : { x };
    };
    svg.addEventListener("pointermove", (event) => {
      const found = nearest(event);
      if (!found.step) return;
      chosen = found.index;
      show(above(found.step.ms));
    });
    svg.addEventListener("click", (event) => {
      const found = nearest(event);
      chosen = found.step ? found.index : null;
      const limit = found.step ? found.step.ms : value(data.x, found.x);
      show(above(Math.min(Math.max(limit, data.x[0]), data.x[1])));
    });
    slider.min = data.x[0];
    slider.max = data.x[1];
    slider.step = (data.x[1] - data.x[0]) / 1000;
    slider.addEventListener("input", () => {
      chosen = null;
      show(digits(Number(slider.value)));
    });
    rows.forEach((row, index) => {
      const button = row.querySelector("button");
      button.disabled = false;
      button.addEventListener("click", () => {
        chosen = index;
        show(digits(parseFloat(output.textContent)));
      });
    });
    for (const limit of data.limits) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = `${limit} ms`;
      button.addEventListener("click", () => {
        chosen = null;
        show(limit);
      });
      figure.querySelector(".limits").append(button);
    }
    const copy = command.querySelector("button");
    copy.addEventListener("click", async () => {
      const code = command.firstElementChild;
      getSelection().selectAllChildren(code);
      try {
        await navigator.clipboard.writeText(code.textContent);
        copy.textContent = "Copied";
      } catch {
        copy.textContent = "Selected";
      }
      setTimeout(() => { copy.textContent = "Copy"; }, 1500);
    });
    figure.querySelector(".controls").hidden = false;
    const middle = data.limits[Math.floor(data.limits.length / 2)];
    show(middle === undefined ? digits((data.x[0] + data.x[1]) / 2) : middle);
  };
  figures.forEach(prepare);

  // One device at a time.
  const buttons = [...document.querySelectorAll(".devices button")];
  const choose = (name) => {
    for (const figure of figures) figure.hidden = figure.id !== name;
    for (const button of buttons) {
      button.setAttribute("aria-pressed", String(button.dataset.front === name));
    }
  };
  for (const button of buttons) {
    button.addEventListener("click", () => choose(button.dataset.front));
  }
  if (buttons.length > 1) {
    buttons[0].parentElement.hidden = false;
    choose(buttons[0].dataset.front);
  }
}
