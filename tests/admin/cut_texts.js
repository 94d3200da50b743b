// The texts of a page that cannot be read whole: those that leave their panel, cell or window, and those that another
// covers. What ends in an ellipsis is meant to be cut.
(() => {
  const shortened = style => style.textOverflow === "ellipsis" || style.webkitLineClamp !== "none";
  const isFrame = (element, style) => style.overflowX !== "visible"
    || (["SECTION", "TD", "TH", "DD", "DT", "LI", "B"].includes(element.tagName) && !["inline", "contents"].includes(style.display));
  const frames = element => {
    const above = [];
    for (let at = element; at && at !== document.body; at = at.parentElement) above.push(at);
    return above;
  };
  const cut = [], shown = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode, above = frames(text.parentElement);
    const styles = above.map(element => getComputedStyle(element));
    if (!text.data.trim() || text.parentElement.closest("script, [hidden], [aria-hidden]")) continue;
    if (styles.some(style => shortened(style) || style.clipPath !== "none")) continue;
    const range = document.createRange();
    range.selectNodeContents(text);
    for (const box of range.getClientRects()) {
      if (box.width < 1) continue;
      const leaves = (left, right) => box.right > right + 1 || box.left < left - 1;
      const left = above.some((element, at) => {
        const frame = element.getBoundingClientRect();
        return isFrame(element, styles[at]) && leaves(frame.left, frame.right);
      });
      const covered = shown.some(other => Math.min(box.right, other.right) - Math.max(box.left, other.left) > 1
        && Math.min(box.bottom, other.bottom) - Math.max(box.top, other.top) > 4);
      if (left || covered || leaves(0, document.documentElement.clientWidth)) cut.push(text.data);
      shown.push(box);
    }
  }
  if (document.documentElement.scrollWidth > document.documentElement.clientWidth) cut.push("the page scrolls sideways");
  return cut.join("\n");
})()
