// The predictions of a lesson: a guess is kept in this browser and opens the result.
for (const form of document.querySelectorAll("form.predict")) {
  const key = `course.predict.${form.dataset.id}`;
  const slider = form.querySelector("input[type=range]");
  const said = form.querySelector("output");
  const button = form.querySelector("button");
  const result = form.querySelector(".predict-result");

  const text = (value) => {
    if (!slider) return value;
    const unit = said.dataset.unit ? ` ${said.dataset.unit}` : "";
    return Number(value).toFixed(Number(said.dataset.decimals)) + unit;
  };
  const guess = () =>
    slider ? slider.value : form.querySelector("input:checked")?.value;
  const show = (value) => {
    form.querySelector(".predict-guess").textContent = text(value);
    result.hidden = false;
    button.textContent = "Guess again";
  };

  form.addEventListener("input", () => {
    button.disabled = false;
    if (said) said.textContent = text(slider.value);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    try {
      localStorage.setItem(key, guess());
    } catch {
      // Storage may be forbidden: the result is shown all the same.
    }
    show(guess());
  });

  let kept = null;
  try {
    kept = localStorage.getItem(key);
  } catch {
    // As above: nothing was kept.
  }
  if (kept !== null) {
    if (slider) {
      slider.value = kept;
      said.textContent = text(kept);
    } else {
      for (const radio of form.querySelectorAll("input"))
        radio.checked = radio.value === kept;
    }
    show(kept);
  }
}
